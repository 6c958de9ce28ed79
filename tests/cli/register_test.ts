/** The register of the commands that run on this host, with real processes. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { describeMembers, endGroup, hostIdentity, isGroupGone, membersOf } from "../../cli/guard/processes.ts";
import { Register } from "../../cli/guard/register.ts";

const GRACE_MS = 300;
const skip = hostIdentity() === null ? "there is no /proc to tell processes apart" : false;

/** A register in a directory of its own, and what it may start; all of it is gone afterwards. */
function place() {
  const directory = mkdtempSync(join(tmpdir(), "elect-test-register-"));
  const started: ChildProcess[] = [];
  return {
    directory,
    register: new Register(join(directory, "register")),
    /** Starts a process group, and waits until its script has said something. */
    async group(script: string, env: Record<string, string> = {}): Promise<number> {
      const child = spawn("sh", ["-c", script], {
        detached: true,
        stdio: ["ignore", "pipe", "ignore"],
        env: { ...process.env, ...env },
      });
      started.push(child);
      await once(child.stdout, "data");
      return child.pid ?? 0;
    },
    [Symbol.dispose]() {
      for (const { pid } of started) {
        try {
          if (pid !== undefined) process.kill(-pid, "SIGKILL");
        } catch {
          // It has ended.
        }
      }
      rmSync(directory, { recursive: true });
    },
  };
}

const POLITE = "echo up; sleep 60";
const DEAF = "trap '' TERM; echo up; while :; do sleep 0.05; done";
const of = (token: bigint, processGroup: number, electionGroup = "nightly") => ({
  electionGroup,
  termId: `term-${token}`,
  token,
  processGroup,
});

test("Register.endEarlier() ends what runs of earlier terms, deaf or not, and nothing else", { skip }, async () => {
  using here = place();
  const groups = await Promise.all([POLITE, DEAF, POLITE, POLITE].map((script) => here.group(script)));
  const [polite = 0, deaf = 0, later = 0, other = 0] = groups;
  await here.register.enter(of(1n, polite));
  await here.register.enter(of(2n, deaf));
  await here.register.enter(of(4n, later));
  await here.register.enter(of(1n, other, "weekly"));
  await here.register.endEarlier(of(3n, 0), GRACE_MS, () => {});
  assert.deepEqual(groups.map(isGroupGone), [true, true, false, false]);
  // What has been ended is struck off.
  assert.equal(readdirSync(join(here.directory, "register")).length, 2);
});

test("Register.endEarlier() gives a command its grace to tidy up", { skip }, async () => {
  using here = place();
  const tidy = join(here.directory, "tidy");
  const group = await here.group(`trap 'sleep 0.2; echo > ${tidy}; exit' TERM; echo up; while :; do sleep 0.05; done`);
  await here.register.enter(of(1n, group));
  await here.register.endEarlier(of(2n, 0), 10_000, () => {});
  assert.equal(readFileSync(tidy, "utf8"), "\n");
});

test("Register.endEarlier() does not end the command of its own term", { skip }, async () => {
  using here = place();
  const group = await here.group(POLITE);
  await here.register.enter(of(3n, group));
  await here.register.endEarlier(of(3n, 0), GRACE_MS, () => {});
  assert.equal(isGroupGone(group), false);
});

test("Register.enter() returns what strikes a command off", { skip }, async () => {
  using here = place();
  const group = await here.group(POLITE);
  const strikeOff = await here.register.enter(of(1n, group));
  await strikeOff?.();
  await here.register.endEarlier(of(2n, 0), GRACE_MS, () => {});
  assert.equal(isGroupGone(group), false);
});

test("Register.endEarlier() ends nobody who has come by the number of a group since", { skip }, async () => {
  using here = place();
  const group = await here.group(POLITE);
  await here.register.enter(of(1n, group));
  const [name = ""] = readdirSync(join(here.directory, "register"));
  const path = join(here.directory, "register", name);
  const entry = JSON.parse(readFileSync(path, "utf8"));
  for (const change of [{ startTime: "1" }, { host: "another" }, { processGroup: -1 }, { processGroup: 1 }]) {
    writeFileSync(path, JSON.stringify({ ...entry, ...change }));
    await here.register.endEarlier(of(2n, 0), GRACE_MS, () => {});
    assert.equal(isGroupGone(group), false, JSON.stringify(change));
  }
  writeFileSync(path, "no entry");
  await here.register.endEarlier(of(2n, 0), GRACE_MS, () => {});
});

test(
  "Register.endEarlier() finds a group by the term in its environment, when its leader has ended",
  { skip },
  async () => {
    for (const [termId, ends] of [["term-1", true], ["term-0", false]] as const) {
      using here = place();
      const script = `sh -c 'while :; do sleep 0.05; done' & echo up; sleep 0.3`;
      const group = await here.group(script, { ELECT_TERM_ID: termId });
      await here.register.enter(of(1n, group));
      // Until it has been mourned, too: a dead leader that is still there shows whose group it is.
      while (existsSync(`/proc/${group}`)) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      await here.register.endEarlier(of(2n, 0), GRACE_MS, () => {});
      assert.equal(isGroupGone(group), ends, termId);
    }
  },
);

test("isGroupGone() takes no notice of those that nobody has mourned, and membersOf() neither", { skip }, async () => {
  using here = place();
  // Its child ends, and it does not ask how: for as long as it lives, the child is a zombie in a group of its own.
  const script = `exec perl -e '
    my $child = fork;
    if (!$child) { sleep 1; exit }
    setpgrp($child, $child); $| = 1; print "$child\n"; sleep 60'`;
  const parent = spawn("sh", ["-c", script], { detached: true, stdio: ["ignore", "pipe", "ignore"] });
  const [said] = await once(parent.stdout, "data");
  const group = Number(String(said));
  assert.equal(isGroupGone(group), false);
  while (!isGroupGone(group)) await new Promise((resolve) => setTimeout(resolve, 10));
  assert.deepEqual(membersOf(group), []);
  // The zombie is there: the kernel still takes signals for it.
  assert.equal(process.kill(-group, 0), true);
  await endGroup(group, { stuck: () => {} });
  parent.kill("SIGKILL");
  void here;
});

test("describeMembers() names processes and their users", () => {
  assert.equal(
    describeMembers([{ pid: 7, uid: 0 }, { pid: 8, uid: 9 }]),
    "process 7 of user id 0, process 8 of user id 9",
  );
  assert.equal(describeMembers([]), "a process of it");
});
