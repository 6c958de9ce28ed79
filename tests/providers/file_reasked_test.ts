/**
 * Claims and calls that are asked for again, against everything that others may do meanwhile. Both parties' steps on
 * the real file system meet in every order with at most two changes of turn: one takes some steps, the other some, then
 * the first ends and then the second, or the other way round. More changes are drawn, in `file_exploration_test.ts`,
 * and all there are, in `proof/file.pml`.
 */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type Files, nodeFiles } from "../../providers/file/directory.ts";
import { FileProvider } from "../../providers/file/provider.ts";
import type { Lease } from "../../src/provider.ts";
import { VirtualClock } from "../../testing/virtual_clock.ts";
import { LEASE_MS, lose, refusal, request, soon, win } from "./file/fixture.ts";
import { GatedFiles, Play } from "./file/gated_files.ts";

const parent = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "elect-reasked-"));
after(() => rm(parent, { recursive: true, force: true }));

const SHORT_MS = LEASE_MS / 10;
/** Longer than any call. */
const MOST_STEPS = 40;
const nobodyDies = { identify: () => Promise.resolve(null), isDead: () => Promise.resolve(false) };

/** A directory, a clock, and participants whose steps a test takes. */
class Scene {
  readonly time = new VirtualClock();
  readonly directory = join(parent, crypto.randomUUID());

  provider(files: Files = nodeFiles): FileProvider {
    return new FileProvider(this.directory, this.time, files, { processes: nobodyDies });
  }

  acting(): Acting {
    const files = new GatedFiles();
    return { files, provider: this.provider(files.calls) };
  }

  /** Longer than any lease has to stand still. */
  outlast(ms = LEASE_MS): void {
    this.time.jump(ms * 1.0011);
  }
}

/** A process whose steps a test takes. */
interface Acting {
  readonly files: GatedFiles;
  readonly provider: FileProvider;
}

interface Claimant {
  readonly scene: Scene;
  readonly files: GatedFiles;
  readonly provider: FileProvider;
  readonly asked: ReturnType<typeof request>;
}

/** One whose claim is linked; then it stalls while `meanwhile` happens, and its call is given up. */
async function linked(meanwhile: (scene: Scene) => Promise<void> = () => Promise.resolve()): Promise<Claimant> {
  const [scene, asked] = [new Scene(), request()];
  const { files, provider } = scene.acting();
  const giveUp = new AbortController();
  const first = await Play.begin(files, () => provider.acquire(asked, { signal: giveUp.signal }));
  await first.until("link");
  await first.steps(1);
  await meanwhile(scene);
  giveUp.abort(new Error("no answer in time"));
  await assert.rejects(first.finish(), /no answer in time/);
  return { scene, files, provider, asked };
}

/** Plays `one` and `other` in every order with two changes of turn, and hands their answers to `judge`. */
async function everyOrder<A, B>(
  set: () => Promise<
    {
      one: () => Promise<Play<A>>;
      other: () => Promise<Play<B>>;
      judge(a: A, b: B, order: string): Promise<void> | void;
    }
  >,
): Promise<number> {
  let orders = 0;
  for (const oneEndsFirst of [true, false]) {
    for (let first = 0, oneDone = false; !oneDone; first++) {
      for (let second = 0, otherDone = false; !otherDone; second++) {
        assert.ok(first < MOST_STEPS && second < MOST_STEPS, "a call has more steps than that");
        const { one, other, judge } = await set();
        const a = await one();
        await a.steps(first);
        const b = await other();
        await b.steps(second);
        [oneDone, otherDone] = [a.done, b.done];
        if (!oneEndsFirst) await b.finish();
        const answer = await a.finish();
        await judge(
          answer,
          await b.finish(),
          `after ${first} and ${second} steps, ${oneEndsFirst ? "one" : "other"} first`,
        );
        orders++;
      }
    }
  }
  return orders;
}

test("acquire() that asks again for a claim that was passed over, and who passes over it, are not both granted", async () => {
  const outcomes = new Map<string, number>();
  await everyOrder(async () => {
    let contender: Acting | undefined;
    const { files, provider, asked } = await linked(async (scene) => {
      contender = scene.acting();
      await lose(contender.provider);
      scene.outlast();
    });
    assert.ok(contender);
    const other = contender;
    return {
      one: () => Play.begin(files, () => provider.acquire(asked, soon())),
      other: () => Play.begin(other.files, () => other.provider.acquire(request(), soon())),
      async judge(a, b, order) {
        assert.ok(!(a.acquired && b.acquired), `both are granted, ${order}`);
        const outcome = `${a.acquired ? "again" : "-"} ${b.acquired ? "passed over" : "-"}`;
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        // A claim that was withdrawn deposes who was granted the lease, but nobody else is granted it meanwhile.
        if (b.acquired) assert.equal(await other.provider.renew(b.lease, soon()), "renewed", order);
      },
    };
  });
  assert.deepEqual([...outcomes.keys()].sort(), ["- -", "- passed over", "again -"]);
});

test("acquire() that asks again for a claim is not granted beside a late renewal of its predecessor", async () => {
  await everyOrder(async () => {
    const scene = new Scene();
    const leader = scene.acting();
    const lease = await win(leader.provider);
    const claim = scene.acting();
    await lose(claim.provider);
    scene.time.jump(LEASE_MS - 1);
    const renewal = await Play.begin(leader.files, () => leader.provider.renew(lease, soon()));
    scene.outlast(LEASE_MS * 0.001 + 1);
    const asked = request();
    const giveUp = new AbortController();
    const first = await Play.begin(claim.files, () => claim.provider.acquire(asked, { signal: giveUp.signal }));
    await first.until("link");
    await first.steps(1);
    giveUp.abort(new Error("no answer in time"));
    await first.finish().catch(() => {});
    return {
      one: () => Promise.resolve(renewal),
      other: () => Play.begin(claim.files, () => claim.provider.acquire(asked, soon())),
      judge: (a, b, order) => assert.ok(!(a === "renewed" && b.acquired), `both succeed, ${order}`),
    };
  });
});

test("acquire() is not granted a claim that was released before it was confirmed, however it is asked for again", async () => {
  const { scene, provider, asked } = await linked();
  assert.equal(await scene.provider().release({ electionGroup: "g", termId: asked.termId }, soon()), "released");
  assert.equal(await scene.provider().read("g", soon()), null);
  // Its term begins anew, under the next number.
  assert.equal((await win(provider, asked)).token, 2n);
});

test("acquire() is not granted a claim that was released before it was confirmed, at whatever step", async () => {
  const tokens = new Set<bigint>();
  for (let count = 0, ended = false, touched = false, confirmed = false; !ended; count++) {
    const { scene, files, provider, asked } = await linked();
    const again = await Play.begin(files, () => provider.acquire(asked, soon()));
    await again.steps(count);
    // Once it has touched, and looked, it is the lease of a leader that is released.
    touched ||= files.next === "utimes";
    confirmed ||= touched && files.next === "stat";
    ended = again.done;
    const other = scene.provider();
    assert.equal(await other.release({ electionGroup: "g", termId: asked.termId }, soon()), "released");
    const answer = await again.finish();
    tokens.add(answer.acquired ? answer.lease.token : 0n);
    if (!confirmed) assert.notEqual(answer.acquired && answer.lease.token, 1n, `released after ${count} steps`);
    // Nobody is in the way of others but a term that began anew.
    assert.equal((await other.acquire(request(), soon())).acquired, !(answer.acquired && answer.lease.token === 2n));
  }
  assert.deepEqual([...tokens].sort(), [0n, 1n, 2n]);
});

test("acquire() is granted a claim that another releases while it is being confirmed until its next heartbeat at most", async () => {
  const outcomes = new Set<string>();
  await everyOrder(async () => {
    const { scene, files, provider, asked } = await linked();
    const operator = scene.acting();
    return {
      one: () => Play.begin(files, () => provider.acquire(asked, soon())),
      other: () =>
        Play.begin(operator.files, async () => {
          const leader = await operator.provider.read("g", soon());
          if (leader === null) return "nobody";
          return await operator.provider.release({ electionGroup: "g", termId: leader.termId }, soon());
        }),
      async judge(a, b, order) {
        outcomes.add(`${a.acquired ? a.lease.token : "held"} ${b}`);
        assert.equal(b, "released", order);
        // The evicted learns it with its next heartbeat, however the two crossed.
        if (a.acquired) {
          assert.equal(await provider.renew(a.lease, soon()), a.lease.token === 1n ? "lost" : "renewed", order);
        }
      },
    };
  });
  assert.deepEqual([...outcomes].sort(), ["1 released", "2 released", "held released"]);
});

test("acquire() that asks again, and another that follows a released claim, are not both granted", async () => {
  await everyOrder(async () => {
    const { scene, files, provider, asked } = await linked();
    const other = scene.acting();
    await scene.provider().release({ electionGroup: "g", termId: asked.termId }, soon());
    return {
      one: () => Play.begin(files, () => provider.acquire(asked, soon())),
      other: () => Play.begin(other.files, () => other.provider.acquire(request(), soon())),
      judge: (a, b, order) => assert.ok(!(a.acquired && b.acquired), `both are granted, ${order}`),
    };
  });
});

/**
 * A leader with a long lease that was renewed at the last moment, and a claim with a short one that was withdrawn for
 * it.
 */
async function withdrawn(
  scene: Scene,
  longest: number,
): Promise<{ leading: FileProvider; lease: Lease; renewedAt: number }> {
  const leader = scene.acting();
  const lease = await win(leader.provider, request("g", { heartbeatTimeout: longest }));
  const claim = scene.acting();
  await lose(claim.provider, request("g", { heartbeatTimeout: SHORT_MS }));
  scene.time.jump(longest - 1);
  const renewal = await Play.begin(leader.files, () => leader.provider.renew(lease, soon()));
  const renewedAt = scene.time.monotonic();
  scene.outlast(longest * 0.001 + 1);
  const play = await Play.begin(
    claim.files,
    () => claim.provider.acquire(request("g", { heartbeatTimeout: SHORT_MS }), soon()),
  );
  await play.until("link");
  assert.equal(await renewal.finish(), "renewed");
  assert.equal((await play.finish()).acquired, false);
  return { leading: leader.provider, lease, renewedAt };
}

test("acquire() passes over a claim that was withdrawn only when its predecessor's longer lease is over too", async () => {
  for (const longest of [LEASE_MS, LEASE_MS * 3]) {
    const scene = new Scene();
    const { lease, leading, renewedAt } = await withdrawn(scene, longest);
    const third = scene.provider();
    const short = () => request("g", { heartbeatTimeout: SHORT_MS });
    await lose(third, short());
    // Its predecessor leads until its deadline, and does not know yet that its lease is not to be renewed.
    for (; scene.time.monotonic() < renewedAt + longest; scene.time.jump(longest / 7)) await lose(third, short());
    assert.equal(await leading.renew(lease, soon()), "lost");
    scene.outlast(longest);
    assert.equal((await win(third, short())).token, 3n);
  }
});

test("acquire() waits for a claim of an earlier version for as long as a record that does not tell", async () => {
  const { readFile, utimes, writeFile } = await import("node:fs/promises");
  const scene = new Scene();
  await withdrawn(scene, LEASE_MS);
  const path = join(scene.directory, "g", "2");
  const record = JSON.parse(await readFile(path, "utf8"));
  delete record.after.leaseMs;
  await writeFile(path, JSON.stringify(record));
  await utimes(path, 0.0005, 0.0005);
  const third = scene.provider();
  await lose(third);
  scene.time.jump(59_000);
  await lose(third);
  scene.time.jump(1_100);
  assert.equal((await win(third)).token, 3n);
});

test("renew() that is on its way at any of its steps does not bring back a term that another call was told is over", async () => {
  const outcomes = new Set<string>();
  for (let count = 0, ended = false; !ended; count++) {
    const scene = new Scene();
    const { files, provider } = scene.acting();
    const lease = await win(provider);
    scene.time.jump(LEASE_MS - 1);
    const late = await Play.begin(files, () => provider.renew(lease, soon()));
    await late.steps(count);
    ended = late.done;
    scene.time.jump(1);
    // It comes to its end while the other stands still.
    const second = await Play.begin(files, () => provider.renew(lease, soon()));
    await second.steps(ended ? 0 : 2);
    const answers = [await second.finish(), await late.finish()];
    assert.deepEqual(answers, ended ? ["renewed", "renewed"] : ["lost", "lost"], `after ${count} steps`);
    outcomes.add(answers.join());
    assert.equal(await provider.renew(lease, soon()), ended ? "renewed" : "lost");
  }
  assert.equal(outcomes.size, 2);
});

test("renew() says lost, when its successors came and were gone while the directory was being read", async () => {
  const scene = new Scene();
  const { readdir } = nodeFiles;
  let meanwhile: () => Promise<void> = () => Promise.resolve();
  // A directory is not read in one step: names that come and go meanwhile may be missed.
  const files = {
    ...nodeFiles,
    readdir: async (...args: Parameters<typeof readdir>) => {
      const names = await readdir(...args);
      await meanwhile();
      return names;
    },
  };
  const leading = scene.provider(files as unknown as Files);
  const lease = await win(leading);
  meanwhile = async () => {
    meanwhile = () => Promise.resolve();
    const others = scene.provider();
    await others.release(lease, soon());
    for (let i = 0; i < 2; i++) await others.release(await win(others), soon());
    await win(others);
  };
  assert.equal(await leading.renew(lease, soon()), "lost");
});

test("acquire() grants no number that is not on the disk, also when it asks again after that could not be done", async () => {
  for (const code of ["EIO", "EINVAL"]) {
    const scene = new Scene();
    let [syncs, fails] = [0, true];
    const provider = scene.provider({
      ...nodeFiles,
      async open(path, flags, mode) {
        const file = await nodeFiles.open(path, flags, mode);
        if (flags !== "r") return file;
        file.sync = () => {
          syncs++;
          return fails ? Promise.reject(refusal(code)) : Promise.resolve();
        };
        return file;
      },
    });
    const asked = request();
    if (code === "EIO") {
      for (let i = 1; i <= 2; i++) {
        await assert.rejects(provider.acquire(asked, soon()), /EIO/);
        assert.equal(syncs, i);
      }
      fails = false;
    }
    // A file system that cannot do it, does without.
    assert.equal((await win(provider, asked)).token, 1n);
    assert.equal(syncs, code === "EIO" ? 3 : 1);
    assert.equal((await win(provider, asked)).token, 1n);
    assert.equal(syncs, code === "EIO" ? 3 : 1, "once is enough");
  }
});

test("renew() of the lease under an old number says lost, when its term began anew under the next", async () => {
  const scene = new Scene();
  const provider = scene.provider();
  const asked = request();
  const old = await win(provider, asked);
  await scene.provider().release(old, soon());
  const now = await win(provider, asked);
  assert.deepEqual([old.token, now.token], [1n, 2n]);
  assert.equal(await provider.renew(old, soon()), "lost");
  assert.equal(await provider.renew(now, soon()), "renewed");
});
