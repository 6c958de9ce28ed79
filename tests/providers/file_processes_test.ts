/** The file provider among real processes, which are killed, stopped and continued. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { fileProvider } from "../../providers/file.ts";
import { ownHolder } from "../../providers/kit/host_process.ts";
import { mounted } from "./mounted.ts";
import { sleep, systemClock } from "../../src/time/clock.ts";
import { ProviderError } from "../../src/errors.ts";

/** How long anything may take on a busy machine, in milliseconds. */
const LIMIT_MS = 30_000;
const parent = await mkdtemp(join(tmpdir(), "elect-processes-"));
const script = fileURLToPath(new URL("./file_contender.ts", import.meta.url));
/** Whether the death of a process can be proved here. */
const provable = await ownHolder() !== null;

after(() => rm(parent, { recursive: true, force: true }));

interface Message {
  readonly ready?: number;
  readonly won?: number;
  readonly held?: number;
  readonly lost?: number;
  readonly late?: boolean;
  readonly outcome?: string;
  readonly released?: string;
  readonly error?: string;
}

/** A process that takes part. */
class Contender implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #messages: { readonly message: Message; readonly at: number }[] = [];
  readonly #ended: Promise<number | null>;
  #heard = 0;

  private constructor(directory: string, timeoutMs: number) {
    const args = "Deno" in globalThis ? ["run", "-A", "--no-config", "--no-lock", "--no-check", script] : [script];
    this.#child = spawn(process.execPath, [...args, directory, String(timeoutMs)], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, NODE_NO_WARNINGS: "1" },
    });
    this.#ended = new Promise((resolve) => this.#child.on("close", resolve));
    const { stdout } = this.#child;
    assert.ok(stdout);
    createInterface({ input: stdout }).on("line", (line) => {
      this.#messages.push({ message: JSON.parse(line), at: systemClock.monotonic() });
    });
  }

  /** Starts one, without waiting until it runs. */
  static start(directory: string, timeoutMs = 60_000): Contender {
    return new Contender(directory, timeoutMs);
  }

  /** Tells it what to do. */
  tell(command: string): void {
    this.#child.stdin?.write(`${command}\n`);
  }

  /** Returns the next message with one of these, and when it came. What comes before it is passed over. */
  async hear(...names: (keyof Message)[]): Promise<{ message: Message; at: number }> {
    for (const start = systemClock.monotonic();;) {
      while (this.#heard < this.#messages.length) {
        const next = this.#messages[this.#heard++];
        if (next && names.some((name) => name in next.message)) return next;
      }
      assert.ok(systemClock.monotonic() - start < LIMIT_MS, `no message with ${names.join(" or ")} came`);
      await sleep(systemClock, 2);
    }
  }

  /** When it said that it had won term `token`; null if it has not. */
  wonAt(token: number): number | null {
    return this.#messages.find(({ message }) => message.won === token)?.at ?? null;
  }

  /** Sends it a signal. */
  signal(signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void {
    // By its number: in Deno, `ChildProcess.kill` does nothing from the second call on.
    if (this.#child.pid !== undefined && this.#child.exitCode === null && this.#child.signalCode === null) {
      process.kill(this.#child.pid, signal);
    }
  }

  /** Closes its input, and returns its exit code: it must end by itself. */
  async leave(): Promise<number | null> {
    this.#child.stdin?.end();
    const timer = setTimeout(() => this.signal("SIGKILL"), LIMIT_MS);
    const code = await this.#ended;
    clearTimeout(timer);
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.signal("SIGKILL");
    await this.#ended;
  }
}

function newDirectory(): string {
  return join(parent, crypto.randomUUID());
}

/** Starts several, and returns them when all run. */
async function together(directory: string, count: number, timeoutMs?: number): Promise<Contender[]> {
  const all = Array.from({ length: count }, () => Contender.start(directory, timeoutMs));
  for (const contender of all) await contender.hear("ready");
  return all;
}

/** Lets them all try at once. Returns the one who won, and its token. */
async function oneWins(contenders: readonly Contender[], group = "g"): Promise<{ winner: Contender; token: number }> {
  for (const contender of contenders) contender.tell(`once ${group}`);
  const answers = await Promise.all(contenders.map((contender) => contender.hear("won", "held", "error")));
  const winners = contenders.filter((_, i) => answers[i]?.message.won !== undefined);
  const said = JSON.stringify(answers.map(({ message }) => message));
  assert.ok(!answers.some(({ message }) => message.error !== undefined), said);
  assert.equal(winners.length, 1, `one must win: ${said}`);
  const [winner] = winners;
  const token = answers.find(({ message }) => message.won !== undefined)?.message.won;
  assert.ok(winner !== undefined && token !== undefined);
  return { winner, token };
}

test("acquire() grants one of several processes that start at once, a hundred times over", async () => {
  const directory = newDirectory();
  const contenders = await together(directory, 4);
  try {
    for (let round = 1; round <= 100; round++) {
      const { winner, token } = await oneWins(contenders);
      assert.equal(token, round, "tokens must count the terms");
      winner.tell("release");
      assert.equal((await winner.hear("released")).message.released, "released");
    }
    // Groups that nobody has used before, so that the directories are made at once too.
    for (let round = 0; round < 20; round++) {
      assert.equal((await oneWins(contenders, `new-${round}`)).token, 1);
    }
    for (const contender of contenders) assert.equal(await contender.leave(), 0, "a process must end by itself");
  } finally {
    for (const contender of contenders) await contender[Symbol.asyncDispose]();
  }
});

test("acquire() grants one of several new processes, when each round's winner is killed", async (t) => {
  if (!provable) return t.skip("no process counts as dead here: no /proc");
  const directory = newDirectory();
  for (let round = 1; round <= 8; round++) {
    const contenders = Array.from({ length: 3 }, () => Contender.start(directory));
    try {
      // Told before they run: each tries as soon as it has started, and the dead winner of the round before is in the
      // way.
      const { winner, token } = await oneWins(contenders);
      assert.equal(token, round);
      await winner[Symbol.asyncDispose]();
    } finally {
      for (const contender of contenders) await contender[Symbol.asyncDispose]();
    }
  }
});

test("watch() lets a follower take over in under a second, when the leader is killed", async (t) => {
  if (!provable) return t.skip("no process counts as dead here: no /proc");
  const directory = newDirectory();
  const contenders = await together(directory, 4);
  try {
    for (const contender of contenders) contender.tell("campaign");
    const delays: number[] = [];
    for (let round = 1; round <= 3; round++) {
      const leader = await leaderAmong(contenders, round);
      await sleep(systemClock, 50);
      const killedAt = systemClock.monotonic();
      contenders.splice(contenders.indexOf(leader.contender), 1);
      await leader.contender[Symbol.asyncDispose]();
      delays.push((await leaderAmong(contenders, round + 1)).at - killedAt);
    }
    // The leases last a minute. A machine that is busy with other things may take its time once, but not thrice.
    assert.ok(Math.min(...delays) < 1_000, `the lease was taken over after ${delays.map(Math.round)} ms`);
    assert.ok(Math.max(...delays) < 15_000, `the lease was taken over after ${delays.map(Math.round)} ms`);
  } finally {
    for (const contender of contenders) await contender[Symbol.asyncDispose]();
  }
});

/** Waits until one of them has won one of these terms. */
async function leaderAmong(contenders: readonly Contender[], ...tokens: number[]) {
  for (const start = systemClock.monotonic(); systemClock.monotonic() - start < LIMIT_MS;) {
    for (const contender of contenders) {
      const at = tokens.map((token) => contender.wonAt(token)).find((each) => each !== null);
      if (at !== undefined) return { contender, at };
    }
    await sleep(systemClock, 2);
  }
  throw new assert.AssertionError({ message: `nobody won term ${tokens}` });
}

test("renew() says lost, when the leader was stopped for longer than its lease, and the next has led since", async () => {
  const directory = newDirectory();
  const contenders = await together(directory, 2, 1_000);
  try {
    for (const contender of contenders) contender.tell("campaign");
    const { contender: leader } = await leaderAmong(contenders, 1);
    leader.signal("SIGSTOP");
    const stoppedAt = systemClock.monotonic();
    const next = await leaderAmong(contenders, 2);
    assert.notEqual(next.contender, leader);
    // Not before the lease can have run out: its last heartbeat was up to a fifth of it earlier.
    assert.ok(next.at - stoppedAt > 700, `taken over after ${next.at - stoppedAt} ms`);
    leader.signal("SIGCONT");
    const { message } = await leader.hear("lost");
    assert.deepEqual({ lost: message.lost, outcome: message.outcome, late: message.late }, {
      lost: 1,
      outcome: "lost",
      late: true,
    });
    await sleep(systemClock, 1_500);
    assert.equal(contenders.every((each) => each.wonAt(3) === null), true, "the next must go on leading");
    assert.equal((await fileProvider({ directory }).read("g", soon()))?.token, 2n);
    for (const contender of contenders) assert.equal(await contender.leave(), 0);
  } finally {
    for (const contender of contenders) await contender[Symbol.asyncDispose]();
  }
});

test("a graceful hand-off takes a watch latency, and leaves processes that end by themselves", async () => {
  const directory = newDirectory();
  const contenders = await together(directory, 3);
  try {
    for (const contender of contenders) contender.tell("campaign");
    const delays: number[] = [];
    for (let token = 1; contenders.length > 1; token++) {
      const { contender } = await leaderAmong(contenders, token);
      await sleep(systemClock, 100);
      contenders.splice(contenders.indexOf(contender), 1);
      const leftAt = systemClock.monotonic();
      const left = contender.leave();
      delays.push((await leaderAmong(contenders, token + 1)).at - leftAt);
      assert.equal(await left, 0);
    }
    assert.ok(Math.min(...delays) < 1_000, `the lease was handed on after ${delays.map(Math.round)} ms`);
    for (const contender of contenders) assert.equal(await contender.leave(), 0);
  } finally {
    for (const contender of contenders) await contender[Symbol.asyncDispose]();
  }
});

test("renew() says lost to a process whose directory was removed, and one process leads again with a larger token", async () => {
  const directory = newDirectory();
  const contenders = await together(directory, 2, 1_000);
  try {
    const [first, second] = contenders;
    assert.ok(first && second);
    first.tell("campaign");
    await leaderAmong([first], 1);
    second.tell("campaign");
    await sleep(systemClock, 300);
    // In one step: entry by entry, it can meet a claim that is made meanwhile, and fail.
    await rename(directory, `${directory}.removed`);
    await rm(`${directory}.removed`, { recursive: true });
    const { message } = await first.hear("lost");
    assert.equal(message.outcome, "lost");
    const next = await leaderAmong(contenders, 2, 3);
    await sleep(systemClock, 1_200);
    const info = await fileProvider({ directory }).read("g", soon());
    assert.ok(info !== null && info.token >= 2n && next.contender.wonAt(Number(info.token)) !== null);
  } finally {
    for (const contender of contenders) await contender[Symbol.asyncDispose]();
  }
});

test("read() never sees half a record, while processes write, kill and are killed", async (t) => {
  if (!provable) return t.skip("no process counts as dead here: no /proc");
  const directory = newDirectory();
  const observer = fileProvider({ directory });
  const contenders = await together(directory, 4, 5_000);
  let watching = true;
  let reads = 0;
  let highest = 0n;
  const reading = (async () => {
    while (watching) {
      const info = await observer.read("g", soon());
      if (info !== null) {
        assert.ok(info.token >= highest, "tokens must never fall");
        highest = info.token;
      }
      reads++;
      await sleep(systemClock, 1);
    }
  })();
  // Awaited below; until then it must not be an unhandled rejection.
  reading.catch(() => watching = false);
  try {
    for (const contender of contenders) contender.tell("campaign");
    for (let token = 1; contenders.length > 0; token++) {
      const { contender } = await leaderAmong(contenders, token);
      for (const enough = reads + 10; watching && reads < enough;) await sleep(systemClock, 1);
      contenders.splice(contenders.indexOf(contender), 1);
      await contender[Symbol.asyncDispose]();
    }
    watching = false;
    await reading;
    assert.ok(highest <= 4n, `up to term ${highest}`);
    assert.equal(await observer.read("g", soon()), null);
  } finally {
    watching = false;
    for (const contender of contenders) await contender[Symbol.asyncDispose]();
  }
});

test("acquire() passes over truncated and foreign records that processes find", async () => {
  const directory = newDirectory();
  await mkdir(join(directory, "g"), { recursive: true });
  // What is not the highest number means nothing, whatever is in it; the highest is held until it has stood still.
  for (const name of ["1", "2", "03", "x", "2.released"]) await writeFile(join(directory, "g", name), '{"electionGro');
  const contenders = await together(directory, 2);
  try {
    for (const contender of contenders) contender.tell("once g");
    for (const contender of contenders) {
      const { message } = await contender.hear("won", "held", "error");
      assert.match(String(message.error), /Cannot acquire the lease in file .*g.2 is not a record of this group/);
    }
    await rm(join(directory, "g", "2"));
    await rm(join(directory, "g", "1"));
    const { token } = await oneWins(contenders);
    assert.equal(token, 3, "they remember the number");
    assert.equal((await readdir(join(directory, "g"))).includes("1"), false);
  } finally {
    for (const contender of contenders) await contender[Symbol.asyncDispose]();
  }
});

test("acquire() says that the disk is full, leaves nothing half written, and a leader goes on renewing, also with metadata", async (t) => {
  const disk = await mounted(t, newDirectory(), "size=16k,mode=700");
  if (disk === null) return;
  try {
    const provider = fileProvider({ directory: disk.directory });
    const asked = { ...request("led"), heartbeatTimeout: 60_000 };
    const led = { request: asked, ...await provider.acquire(asked, soon()) };
    assert.ok(led.acquired);
    await writeFile(join(disk.directory, "~ballast"), "x".repeat(64 * 1024)).catch(() => {});
    for (const call of [() => provider.acquire(request("g"), soon()), () => provider.healthCheck(soon())]) {
      await assert.rejects(call, (error) => error instanceof ProviderError && /disk is full/.test(error.message));
    }
    assert.deepEqual(await readdir(join(disk.directory, "g")).catch(() => []), []);
    assert.equal(await provider.renew(led.lease, soon()), "renewed");
    // Metadata need room, but what they cost is themselves, not the lease.
    const [files, seen] = [await readdir(join(disk.directory, "led")), await provider.read("led", soon())];
    const change = provider.renew(led.lease, { ...soon(), metadata: { state: "x".repeat(4_000) } });
    await assert.rejects(change, (error) => error instanceof ProviderError && /disk is full/.test(error.message));
    assert.deepEqual(await readdir(join(disk.directory, "led")), files);
    const now = await provider.read("led", soon());
    assert.ok(Number(now?.lastHeartbeat) > Number(seen?.lastHeartbeat), "the lease was renewed");
    assert.deepEqual(now?.metadata, {});
    const again = await provider.acquire(led.request, soon());
    assert.ok(again.acquired && again.lease.token === led.lease.token, "asking again needs no room");
    assert.equal(await provider.release(led.lease, soon()), "released", "nor does a release");
    assert.equal(await provider.read("led", soon()), null);
    await rm(join(disk.directory, "~ballast"));
    assert.ok((await provider.acquire(request("g"), soon())).acquired, "the failure is not remembered");
  } finally {
    disk.done();
  }
});

test("acquire() says that the file system is read-only, and read() reads on", async (t) => {
  const disk = await mounted(t, newDirectory(), "size=64k,mode=700");
  if (disk === null) return;
  try {
    const provider = fileProvider({ directory: disk.directory });
    const led = await provider.acquire(request("led"), soon());
    assert.ok(led.acquired);
    spawnSync("mount", ["-o", "remount,ro", disk.directory]);
    for (const call of [() => provider.acquire(request("g"), soon()), () => provider.healthCheck(soon())]) {
      await assert.rejects(call, (error) => error instanceof ProviderError && /read-only/.test(error.message));
    }
    // Unknown is not lost, and not renewed either.
    await assert.rejects(provider.renew(led.lease, soon()), ProviderError);
    assert.equal((await provider.read("led", soon()))?.token, 1n);
  } finally {
    disk.done();
  }
});

function request(electionGroup: string) {
  const termId = crypto.randomUUID();
  return { electionGroup, participantId: "p", termId, heartbeatTimeout: 10_000, metadata: {} };
}

function soon(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(LIMIT_MS) };
}
