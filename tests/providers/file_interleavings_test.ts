/**
 * Every order in which the steps of a late renewal and of a take-over can meet, and the orders that a crash or
 * a long stall can bring about. The steps are those of the real file system; a test decides whose is next.
 */

import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileProvider } from "../../providers/file.ts";
import { type Files, nodeFiles } from "../../providers/file/directory.ts";
import { ownHolder } from "../../providers/kit/host_process.ts";
import { FileProvider } from "../../providers/file/provider.ts";
import { sleep, systemClock } from "../../src/time/clock.ts";
import { VirtualClock } from "../../testing/virtual_clock.ts";
import { type Call, filesWith, LEASE_MS, lose, request, soon, win } from "./file/fixture.ts";
import { Actor, type Play } from "./file/stepped_files.ts";

/** More steps than any call takes. */
const MOST_STEPS = 30;
const parent = await mkdtemp(join(tmpdir(), "elect-interleavings-"));
after(() => rm(parent, { recursive: true, force: true }));

/**
 * A leader whose renewal has begun in time and stands before its first step, and contenders who saw its lease run out.
 */
async function stalledRenewal(contenders: number) {
  const directory = join(parent, crypto.randomUUID());
  const time = new VirtualClock();
  const leader = new Actor();
  const leading = new FileProvider(directory, time, leader.files);
  const lease = await win(leading);
  const actors = Array.from({ length: contenders }, () => new Actor());
  const providers = actors.map((actor) => new FileProvider(directory, time, actor.files));
  for (const provider of providers) await lose(provider);
  time.jump(LEASE_MS - 1);
  const renewal = await leader.begin(() => leading.renew(lease, soon()));
  time.jump(LEASE_MS * 0.001 + 1);
  const takeOvers = [];
  for (const [i, actor] of actors.entries()) {
    takeOvers.push(await actor.begin(() => (providers[i] ?? leading).acquire(request(), soon())));
  }
  return { directory, time, lease, leading, renewal, takeOvers, providers };
}

async function steps(play: Play<unknown> | undefined, count: number): Promise<void> {
  for (let i = 0; i < count && play && !play.done; i++) await play.step();
}

test("renew() and acquire() never both succeed, in whatever order their steps meet", async () => {
  const outcomes = new Map<string, number>();
  for (let first = 0, ended = false; !ended; first++) {
    for (let second = 0; second + first < MOST_STEPS; second++) {
      for (let third = 0; third + second + first < MOST_STEPS; third++) {
        const { renewal, takeOvers: [takeOver] } = await stalledRenewal(1);
        assert.ok(takeOver);
        await steps(takeOver, first);
        if (takeOver.done) ended = true;
        await steps(renewal, 1);
        await steps(takeOver, second);
        await steps(renewal, 1);
        await steps(takeOver, third);
        const rest = takeOver.done;
        const renewed = await renewal.finish() === "renewed";
        const { acquired } = await takeOver.finish();
        assert.ok(!(renewed && acquired), `both succeeded, after ${first}, ${second} and ${third} steps`);
        const outcome = `${renewed ? "renewed" : "lost"}, ${acquired ? "acquired" : "held"}`;
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
        if (rest) break;
      }
    }
  }
  assert.deepEqual([...outcomes.keys()].sort(), ["lost, acquired", "lost, held", "renewed, held"]);
});

test("acquire() grants one of two take-overs at most, and none beside a late renewal", async () => {
  const granted = [0, 0, 0];
  for (let first = 0; first < 20; first++) {
    for (let second = 0; second < 20; second++) {
      const { renewal, takeOvers: [a, b] } = await stalledRenewal(2);
      assert.ok(a && b);
      await steps(a, first);
      if (second % 3 === 0) await steps(renewal, 1);
      await steps(b, second);
      const answers = [await a.finish(), await b.finish()];
      const renewed = await renewal.finish() === "renewed";
      const count = answers.filter(({ acquired }) => acquired).length + (renewed ? 1 : 0);
      assert.ok(count <= 1, `${count} hold the lease, after ${first} and ${second} steps`);
      granted[count] = (granted[count] ?? 0) + 1;
    }
  }
  assert.ok((granted[1] ?? 0) > 200, `most orders have one winner: ${granted}`);
});

test("acquire() withdraws beside a late renewal, and the group is free again a lease later, under a larger token", async () => {
  const { time, lease, leading, renewal, takeOvers: [takeOver], providers: [contender] } = await stalledRenewal(1);
  assert.ok(takeOver && contender);
  await takeOver.until("link");
  assert.equal(await renewal.finish(), "renewed");
  assert.deepEqual(await takeOver.finish(), { acquired: false, leader: null });
  // The claim that was withdrawn counts for nobody, but it stands.
  assert.equal(await leading.read("g", soon()), null);
  assert.equal(await leading.renew(lease, soon()), "lost");
  assert.deepEqual(
    await contender.acquire(request(), soon()),
    { acquired: false, leader: null },
    "nobody is in the way",
  );
  time.jump(LEASE_MS * 0.9);
  await lose(contender);
  time.jump(LEASE_MS * 0.102);
  assert.equal((await win(contender)).token, 3n);
});

test("acquire() and read() whose answers from the disk come a lease late do not take a living leader for dead", async () => {
  for (const what of ["acquire", "read"] as const) {
    for (const late of ["readdir", "stat"] as const) {
      const directory = join(parent, crypto.randomUUID());
      const time = new VirtualClock();
      const leading = fileProvider({ directory, clock: time });
      const lease = await win(leading);
      let waits = false;
      const goOn = async () => {
        if (!waits) return;
        waits = false;
        for (let beat = 0; beat < 3; beat++) {
          time.jump(LEASE_MS * 0.5);
          assert.equal(await leading.renew(lease, soon()), "renewed");
        }
      };
      const files = filesWith({ [late]: (real: Call): Call => (path, ...rest) => real(path, ...rest).finally(goOn) });
      const other = new FileProvider(directory, time, files);
      // Seen once, so that it is known since when the record stands still.
      await lose(other);
      waits = true;
      if (what === "acquire") await lose(other);
      else assert.equal((await other.read("g", soon()))?.termId, lease.termId);
      assert.equal(waits, false);
      assert.equal(await leading.renew(lease, soon()), "renewed", `${what}() with a late ${late}`);
    }
  }
});

test("renew() counts the lease from when it was asked, when its answers from the disk come late", async () => {
  const time = new VirtualClock();
  const actor = new Actor();
  const leading = new FileProvider(join(parent, crypto.randomUUID()), time, actor.files);
  const lease = await win(leading);
  const renewal = await actor.begin(() => leading.renew(lease, soon()));
  await renewal.until("readdir");
  time.jump(LEASE_MS * 0.6);
  assert.equal(await renewal.finish(), "renewed");
  time.jump(LEASE_MS * 0.6);
  actor.release();
  assert.equal(await leading.renew(lease, soon()), "lost");
});

/** Makes the record of a term look like that of a process that has died. */
async function bury(directory: string, number: number): Promise<boolean> {
  const self = await ownHolder();
  if (self === null) return false;
  const path = join(directory, "g", String(number));
  // As a number: a `Date` of half a millisecond after 1970, which says "unconfirmed", is rounded up by Node.
  const seconds = (await stat(path)).mtimeMs / 1_000;
  const record = JSON.parse(await readFile(path, "utf8"));
  await writeFile(path, JSON.stringify({ ...record, holder: { ...self, startTime: "1" } }));
  await utimes(path, seconds, seconds);
  return true;
}

test("acquire() does not follow a claimant that died before it saw the late renewal of its predecessor", async (t) => {
  const { directory, time, renewal, takeOvers: [takeOver] } = await stalledRenewal(1);
  assert.ok(takeOver);
  await takeOver.until("link");
  assert.equal(await renewal.finish(), "renewed");
  await takeOver.step();
  // Here it dies: its claim is linked, its predecessor leads, and nobody has compared the two.
  if (!(await bury(directory, 2))) return t.skip("no process counts as dead here: no /proc");
  const third = fileProvider({ directory, clock: time });
  assert.equal(await third.read("g", soon()), null);
  await lose(third);
  time.jump(LEASE_MS * 1.0011);
  assert.equal((await win(third)).token, 3n);
});

test("acquire() follows a claimant that died at once, when its claim was good", async (t) => {
  const { directory, time, renewal, takeOvers: [takeOver] } = await stalledRenewal(1);
  assert.ok(takeOver);
  await takeOver.until("link");
  await takeOver.step();
  if (!(await bury(directory, 2))) return t.skip("no process counts as dead here: no /proc");
  const third = fileProvider({ directory, clock: time });
  assert.equal((await win(third)).token, 3n);
  assert.equal(await renewal.finish(), "lost");
});

test("acquire() is granted by asking again, when the first call was aborted after its link", async () => {
  const directory = join(parent, crypto.randomUUID());
  const actor = new Actor();
  const provider = new FileProvider(directory, new VirtualClock(), actor.files);
  const asked = request();
  const giveUp = new AbortController();
  const play = await actor.begin(() => provider.acquire(asked, { signal: giveUp.signal }));
  await play.until("link");
  await play.step();
  giveUp.abort(new Error("no answer in time"));
  await assert.rejects(play.finish(), /no answer in time/);
  assert.equal((await win(provider, asked)).token, 1n);
  assert.equal((await readdir(join(directory, "g"))).length, 2);
});

test("acquire() does nothing more than to tidy up, when it was aborted before its link", async () => {
  for (const stalledAt of ["mkdir", "open", "link"]) {
    const directory = join(parent, crypto.randomUUID());
    const actor = new Actor();
    const provider = new FileProvider(directory, new VirtualClock(), actor.files);
    const giveUp = new AbortController();
    const play = await actor.begin(() => provider.acquire(request(), { signal: giveUp.signal }));
    await play.until(stalledAt);
    giveUp.abort(new Error("no answer in time"));
    const from = actor.taken.length;
    await assert.rejects(play.finish(), /no answer in time/);
    // A link that was under way cannot be called back.
    if (stalledAt === "link") continue;
    await sleep(systemClock, 50);
    assert.equal(actor.taken.includes("link"), false);
    assert.deepEqual(
      actor.taken.slice(from).filter((name) => !["mkdir", "lstat"].includes(name)),
      {
        mkdir: [],
        open: ["open", "unlink"],
      }[stalledAt],
    );
    assert.deepEqual(await readdir(join(directory, "g")).catch(() => []), []);
  }
});

test("acquire() that comes so late that its number was used and swept is not granted, and harms nobody", async () => {
  // Before "link", the leader's sweep takes the file that was to be linked; before "open", the old number comes to
  // exist again.
  for (const stalledAt of ["open", "link"]) {
    const directory = join(parent, crypto.randomUUID());
    const time = new VirtualClock();
    const others = fileProvider({ directory, clock: time });
    await others.release(await win(others), soon());
    const late = new Actor();
    const play = await late.begin(() => new FileProvider(directory, time, late.files).acquire(request(), soon()));
    await play.until(stalledAt);
    let lease = await win(others);
    for (let i = 0; i < 3; i++) {
      await others.release(lease, soon());
      lease = await win(others);
    }
    assert.equal(lease.token, 5n);
    const answer = await play.finish();
    assert.ok(!answer.acquired && answer.leader?.token === 5n);
    assert.equal((await readdir(join(directory, "g"))).includes("2"), stalledAt === "open");
    await lose(fileProvider({ directory, clock: time }));
    assert.equal(await others.renew(lease, soon()), "renewed");
    await others.release(lease, soon());
    assert.equal((await win(others)).token, 6n);
    assert.deepEqual((await readdir(join(directory, "g"))).map((name) => name[0]), ["6", "6"]);
  }
});

test("renew() says lost, when its term ended and its successors came and went while it stalled at any step", async () => {
  for (const stalledAt of ["utimes", "readdir", "stat"]) {
    const directory = join(parent, crypto.randomUUID());
    const time = new VirtualClock();
    const leader = new Actor();
    const leading = new FileProvider(directory, time, leader.files);
    const lease = await win(leading);
    const renewal = await leader.begin(() => leading.renew(lease, soon()));
    await renewal.until(stalledAt);
    const others = fileProvider({ directory, clock: time });
    assert.equal(await others.release(lease, soon()), "released");
    let last = await win(others);
    for (let i = 0; i < 2; i++) {
      await others.release(last, soon());
      last = await win(others);
    }
    assert.equal(await renewal.finish(), "lost", `stalled before ${stalledAt}`);
    assert.equal(await others.renew(last, soon()), "renewed");
  }
});

test("renew() that says lost ends the term, for a heartbeat that is late too", async () => {
  const directory = join(parent, crypto.randomUUID());
  const time = new VirtualClock();
  const [arrived, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let stalls = false;
  const utimes: Files["utimes"] = async (...args) => {
    if (stalls) {
      stalls = false;
      arrived.resolve();
      await go.promise;
    }
    await nodeFiles.utimes(...args);
  };
  const leading = new FileProvider(directory, time, { ...nodeFiles, utimes });
  const lease = await win(leading);
  time.jump(LEASE_MS - 1);
  stalls = true;
  const late = leading.renew(lease, soon());
  await arrived.promise;
  time.jump(1);
  assert.equal(await leading.renew(lease, soon()), "lost");
  go.resolve();
  assert.equal(await late, "lost");
  assert.equal(await leading.renew(lease, soon()), "lost");
  assert.equal((await win(fileProvider({ directory, clock: time }))).token, 2n);
});

test("renew() says lost, when the term was released by another while it stalled before its look", async () => {
  const directory = join(parent, crypto.randomUUID());
  const leader = new Actor();
  const leading = new FileProvider(directory, new VirtualClock(), leader.files);
  const lease = await win(leading);
  const renewal = await leader.begin(() => leading.renew(lease, soon()));
  await renewal.until("readdir");
  const { electionGroup, termId } = lease;
  assert.equal(await fileProvider({ directory }).release({ electionGroup, termId }, soon()), "released");
  assert.equal(await renewal.finish(), "lost");
});

test("acquire() begins its term anew, when another ends it at any step while it asks again", async () => {
  const tokens = new Set<bigint>();
  for (let count = 0, ended = false; !ended; count++) {
    const directory = join(parent, crypto.randomUUID());
    const actor = new Actor();
    const asking = new FileProvider(directory, new VirtualClock(), actor.files);
    const asked = request();
    const lease = await win(asking, asked);
    const again = await actor.begin(() => asking.acquire(asked, soon()));
    await steps(again, count);
    ended = again.done;
    assert.equal(await fileProvider({ directory }).release(lease, soon()), "released");
    const answer = await again.finish();
    assert.ok(answer.acquired, `ended after ${count} steps`);
    const { token } = answer.lease;
    assert.equal(await asking.renew(answer.lease, soon()), token === lease.token ? "lost" : "renewed");
    tokens.add(token);
  }
  assert.deepEqual([...tokens].sort(), [1n, 2n]);
});

test("release() that stalls until a successor leads leaves it alone", async () => {
  const directory = join(parent, crypto.randomUUID());
  const time = new VirtualClock();
  const leader = new Actor();
  const leading = new FileProvider(directory, time, leader.files);
  const lease = await win(leading);
  const others = fileProvider({ directory, clock: time });
  const release = await leader.begin(() => leading.release(lease, soon()));
  await release.until("open");
  assert.equal(await others.release(lease, soon()), "released");
  const next = await win(others);
  await release.finish();
  assert.equal(await others.renew(next, soon()), "renewed");
  assert.equal((await others.read("g", soon()))?.token, 2n);
});

test("acquire() by a process that remembers a removed directory, beside one that does not, grants one at most", async () => {
  for (let first = 0; first < 16; first++) {
    const directory = join(parent, crypto.randomUUID());
    const time = new VirtualClock();
    const remembering = new Actor();
    const provider = new FileProvider(directory, time, remembering.files);
    for (let i = 0; i < 3; i++) await provider.release(await win(provider), soon());
    await rm(directory, { recursive: true });
    const fresh = fileProvider({ directory, clock: time });
    const play = await remembering.begin(() => provider.acquire(request(), soon()));
    await steps(play, first);
    const other = await fresh.acquire(request(), soon());
    const answer = await play.finish();
    assert.ok(!(other.acquired && answer.acquired), `both lead, after ${first} steps`);
    if (answer.acquired) assert.equal(answer.lease.token, 4n);
  }
});

test("acquire() and read() look again, when the record that they were about to read is swept", async () => {
  for (const call of ["acquire", "read"] as const) {
    for (let count = 0, ended = false; !ended; count++) {
      const directory = join(parent, crypto.randomUUID());
      const leading = fileProvider({ directory });
      const lease = await win(leading);
      const actor = new Actor();
      const looking = new FileProvider(directory, systemClock, actor.files);
      const look = await actor.begin(async () => {
        if (call === "read") return (await looking.read("g", soon()))?.token;
        const answer = await looking.acquire(request(), soon());
        return answer.acquired ? answer.lease.token : answer.leader?.token;
      });
      await steps(look, count);
      ended = look.done;
      // The next leader sweeps what is older than its own term.
      assert.equal(await leading.release(lease, soon()), "released");
      await leading.acquire(request(), soon());
      const token = await look.finish();
      assert.ok(token === undefined || token >= 1n, `${call} after ${count} steps: ${token}`);
    }
  }
});
