/** Servers that are down, die, come back or hang. */

import assert from "node:assert/strict";
import { ElectionError } from "../../src/errors.ts";
import type { Lease, Provider } from "../../src/provider.ts";
import { patience } from "./slowness.ts";
import { checkLeader, now, onStage, soon, type Stage, until, wait, win, winSoon } from "./stage.ts";
import type { ConformanceCase, ConformanceFaults, ConformanceTarget } from "./target.ts";
import { follow } from "./watch_cases.ts";

/** The time that a server and a client may take to find each other again, in milliseconds. */
const RECOVERY_LIMIT = 60_000;

/** Returns the cases about faults, as far as they can be injected. */
export function faultCases(target: ConformanceTarget): ConformanceCase[] {
  const { kill, restart, freeze, thaw } = target.faults ?? {};
  const cases: ConformanceCase[] = [];
  if (kill && restart) {
    const server = { kill: kill.bind(target.faults), restart: restart.bind(target.faults) };
    cases.push(
      onStage(
        target,
        "a server that is down at first use is found, when it is up",
        (stage) => downAtFirst(stage, server),
      ),
      onStage(
        target,
        "a term and its token outlive a server that is killed and restarted",
        (stage) => killed(stage, server),
      ),
      onStage(
        target,
        "a watch hints or breaks, when the server is killed and restarted",
        (stage) => watched(stage, server),
      ),
    );
  }
  if (freeze && thaw) {
    const server = { freeze: freeze.bind(target.faults), thaw: thaw.bind(target.faults) };
    cases.push(
      onStage(target, "a server that hangs holds up no call and no close", (stage) => hangs(stage, server)),
      onStage(
        target,
        "a lease expires, while the server hangs for longer than it lasts",
        (stage) => frozen(stage, server),
      ),
    );
  }
  return cases;
}

type Killable = Required<Pick<ConformanceFaults, "kill" | "restart">>;
type Freezable = Required<Pick<ConformanceFaults, "freeze" | "thaw">>;

/** Calls until the server answers again: while it does not, every call must fail in time, and with an error of ours. */
function recovered<T>(what: string, call: (signal: AbortSignal) => Promise<T | undefined>): Promise<T> {
  return until(what, patience(RECOVERY_LIMIT), 50, async () => {
    const signal = AbortSignal.timeout(patience(2_000));
    return await call(signal).catch((error: unknown) => {
      checkFailure(error, signal);
      return undefined;
    });
  });
}

function checkFailure(error: unknown, signal: AbortSignal): void {
  const expected = error instanceof ElectionError || (signal.aborted && error === signal.reason);
  assert.ok(expected, `a failure must be a ProviderError or the signal's reason, not ${error}`);
}

async function fails(what: string, call: (signal: AbortSignal) => Promise<unknown>, limitMs = 1_000): Promise<void> {
  const signal = AbortSignal.timeout(Math.ceil(limitMs));
  const start = now();
  const outcome = await call(signal).then((value) => ({ value }), (error: unknown) => ({ error }));
  assert.ok("error" in outcome, `${what} must fail without a server, but it answered`);
  checkFailure(outcome.error, signal);
  assert.ok(now() - start < limitMs + patience(4_000), `${what} must fail in time`);
}

async function downAtFirst(stage: Stage, server: Killable): Promise<void> {
  const early = await stage.open();
  const bystander = await stage.open();
  const given = stage.request(stage.group(), { heartbeatTimeout: stage.short });
  await server.kill();
  try {
    await fails("acquire()", (signal) => early.acquire(given, { signal }));
    await fails("read()", (signal) => early.read(given.electionGroup, { signal }));
    await fails("healthCheck()", (signal) => early.healthCheck({ signal }));
    if (early.groups) await fails("groups()", (signal) => early.groups?.({ signal }) ?? Promise.resolve());
    await fails("acquire()", (signal) => early.acquire(given, { signal }), 50);
  } finally {
    await server.restart();
  }
  // The failures are over and done with: nothing that failed may be carried out now that it could be.
  const read = () =>
    recovered(
      "the server is read",
      async (signal) => ({ leader: await bystander.read(given.electionGroup, { signal }) }),
    );
  assert.equal((await read()).leader, null);
  await recovered("the early client is connected", (signal) => early.healthCheck({ signal }).then(() => true));
  await wait(500);
  assert.equal((await read()).leader, null, "an acquire() that failed must not be sent when the server is up");
  await win(early, stage.request(given.electionGroup));
}

async function killed(stage: Stage, server: Killable): Promise<void> {
  const { first } = stage;
  const other = await stage.open();
  const lease = await win(first, stage.request(stage.group(), { metadata: { a: "a" } }));
  const freed = await win(first, stage.request(stage.group()));
  assert.equal(await first.release(freed, soon()), "released");
  await other.read(lease.electionGroup, soon());
  await server.kill();
  try {
    await fails("renew()", (signal) => first.renew(lease, { signal }));
    await fails("read()", (signal) => other.read(lease.electionGroup, { signal }));
    await fails("release()", (signal) => other.release(freed, { signal }));
  } finally {
    await server.restart();
  }
  const outcome = await recovered("the holder is answered", (signal) => first.renew(lease, { signal }));
  // A lease that was lost with the server is bearable, a token that was lost is not.
  if (outcome === "renewed") {
    const leader = await recovered(
      "the leader is read",
      async (signal) => ({ info: await other.read(lease.electionGroup, { signal }) }),
    );
    checkLeader(leader.info, lease, { a: "a" });
    assert.equal(await recovered("the lease is given back", (signal) => first.release(lease, { signal })), "released");
  }
  await recovered("the other client is connected", (signal) => other.healthCheck({ signal }).then(() => true));
  for (const old of [lease, freed]) {
    const next = await winSoon(stage, other, stage.request(old.electionGroup));
    assert.ok(next.token > old.token, `token must grow over a restart: ${next.token} came after ${old.token}`);
    assert.equal(await first.renew(old, soon()), "lost", "the old term is over");
  }
}

async function watched(stage: Stage, server: Killable): Promise<void> {
  const electionGroup = stage.group();
  const other = await stage.open();
  const watcher = follow(other, electionGroup);
  if (watcher === null) return;
  await watcher.more(0);
  const seen = watcher.hints();
  await server.kill();
  await server.restart();
  const lease = await recovered<Lease>("somebody leads again", async (signal) => {
    const answer = await stage.first.acquire(stage.request(electionGroup), { signal });
    return answer.acquired ? answer.lease : undefined;
  });
  await recovered("the lease is given back", (signal) => stage.first.release(lease, { signal }));
  let broken = false;
  watcher.ended.catch(() => broken = true);
  // Either the gap itself is a hint, or the stream breaks and its reader subscribes anew.
  await until("a watch hints or breaks", patience(RECOVERY_LIMIT), 20, () => {
    return Promise.resolve(broken || watcher.hints() > seen ? true : undefined);
  });
  await watcher.stop().catch((error: unknown) =>
    assert.ok(error instanceof ElectionError, `not an error of ours: ${error}`)
  );
  const again = follow(other, electionGroup);
  await again?.more(0);
  await again?.stop();
}

async function hangs(stage: Stage, server: Freezable): Promise<void> {
  const [connected, fresh] = await stage.clients(2);
  assert.ok(connected && fresh);
  const lease = await win(connected, stage.request(stage.group()));
  const watcher = follow(connected, lease.electionGroup);
  await watcher?.more(0);
  await server.freeze();
  try {
    for (const client of [connected, fresh]) {
      await fails("acquire()", (signal) => client.acquire(stage.request(stage.group()), { signal }), 300);
      await fails("read()", (signal) => client.read(lease.electionGroup, { signal }), 300);
      await fails("healthCheck()", (signal) => client.healthCheck({ signal }), 300);
      if (client.groups) await fails("groups()", (signal) => client.groups?.({ signal }) ?? Promise.resolve(), 300);
    }
    await fails("renew()", (signal) => connected.renew(lease, { signal }), 300);
    await fails("release()", (signal) => connected.release(lease, { signal }), 300);
    await closesInTime(connected);
    await closesInTime(fresh);
  } finally {
    await server.thaw();
  }
  await watcher?.stop().catch(() => {});
  await recovered("the server answers", (signal) => stage.first.healthCheck({ signal }).then(() => true));
}

async function closesInTime(client: Provider): Promise<void> {
  const start = now();
  await client[Symbol.asyncDispose]();
  assert.ok(now() - start < patience(5_000), "closing must not wait for a server that hangs");
}

async function frozen(stage: Stage, server: Freezable): Promise<void> {
  const other = await stage.open();
  const lease = await win(stage.first, stage.request(stage.group(), { heartbeatTimeout: stage.short }));
  await other.read(lease.electionGroup, soon());
  await server.freeze();
  try {
    // Sent into the hang, it is carried out, if at all, when the lease has expired.
    await fails("renew()", (signal) => stage.first.renew(lease, { signal }), stage.short / 3);
    await wait(stage.short);
  } finally {
    await server.thaw();
  }
  await recovered("the other client is answered", (signal) => other.healthCheck({ signal }).then(() => true));
  const next = await winSoon(stage, other, stage.request(lease.electionGroup));
  assert.ok(next.token > lease.token, `token must grow over a hang: ${next.token} came after ${lease.token}`);
  assert.equal(await recovered("the old holder is answered", (signal) => stage.first.renew(lease, { signal })), "lost");
  checkLeader(await other.read(lease.electionGroup, soon()), next);
}
