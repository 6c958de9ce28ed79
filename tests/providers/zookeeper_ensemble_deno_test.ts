/** The ZooKeeper provider on an ensemble of three servers, which fail one after the other and together. */

import { delay } from "@std/async";
import assert from "node:assert/strict";
import { zookeeperProvider } from "../../providers/zookeeper.ts";
import { LeaderElection } from "../../src/election.ts";
import type { AcquireRequest, Lease, Provider } from "../../src/provider.ts";
import { installZooKeeper } from "../servers/zookeeper.ts";
import { type Ensemble, type Member, startEnsemble } from "../servers/zookeeper_ensemble.ts";
import { until } from "../until.ts";

const HEARTBEAT_TIMEOUT = 6_000;
const soon = () => ({ signal: AbortSignal.timeout(10_000) });

Deno.test(
  "zookeeperProvider() on an ensemble of three",
  { sanitizeOps: false, sanitizeResources: false },
  async (t) => {
    try {
      await installZooKeeper();
    } catch (error) {
      console.error(`SKIPPED: ZooKeeper cannot be had: ${error}`);
      return;
    }
    const ensemble = await startEnsemble();
    try {
      for (const fault of ["kill", "freeze"] as const) {
        for (const part of ["follower", "leader"] as const) {
          await t.step(`a term outlives that its server, the ${part}, is hit by a ${fault}`, () => {
            return outlives(ensemble, part, fault);
          });
        }
      }
      await t.step("a term survives the restart of every server in turn", () => rollingRestart(ensemble));
      await t.step("nobody leads without a quorum, and somebody does when it is back", () => quorumLost(ensemble));
      await t.step("two elections never overlap, while their servers fail", () => electionsNeverOverlap(ensemble));
    } finally {
      await ensemble.stop();
    }
  },
);

function request(changes: Partial<AcquireRequest> = {}): AcquireRequest {
  const base = { electionGroup: `ensemble-${crypto.randomUUID()}`, participantId: "p", termId: crypto.randomUUID() };
  return { ...base, heartbeatTimeout: HEARTBEAT_TIMEOUT, metadata: {}, ...changes };
}

async function win(provider: Provider, asked: AcquireRequest): Promise<Lease> {
  const answer = await provider.acquire(asked, soon());
  assert.ok(answer.acquired, `"${asked.electionGroup}" is held`);
  return answer.lease;
}

/** Keeps `lease` as an election would, with a short bound on each try, until it is renewed. Fails when it is lost. */
async function renewed(provider: Provider, lease: Lease): Promise<void> {
  const deadline = AbortSignal.timeout(HEARTBEAT_TIMEOUT);
  for (;;) {
    try {
      const signal = AbortSignal.timeout(HEARTBEAT_TIMEOUT / 3);
      assert.equal(await provider.renew(lease, { signal }), "renewed", "the lease is still ours");
      return;
    } catch (error) {
      if (deadline.aborted || error instanceof assert.AssertionError) throw error;
      await delay(20);
    }
  }
}

async function memberThatIs(ensemble: Ensemble, part: "leader" | "follower"): Promise<Member> {
  await ensemble.ready();
  for (const member of ensemble.members) if (await member.mode() === part) return member;
  return assert.fail(`nobody is ${part}`);
}

/**
 * A provider that is attached to `member`, but knows them all: it begins with that one and goes on in the order given.
 */
async function attachedTo(ensemble: Ensemble, member: Member): Promise<Provider> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const before = await member.clients();
    const provider = zookeeperProvider({ url: ensemble.url });
    // The session of the lease that is tested, no other: sessions of one provider may be attached to different servers.
    await win(provider, request());
    if (await member.clients() > before) return provider;
    await provider[Symbol.asyncDispose]();
  }
  return assert.fail("no provider would attach to that server");
}

async function outlives(ensemble: Ensemble, part: "leader" | "follower", fault: "kill" | "freeze"): Promise<void> {
  const member = await memberThatIs(ensemble, part);
  await using provider = await attachedTo(ensemble, member);
  const others = ensemble.members.filter((each) => each !== member);
  await using rival = zookeeperProvider({ url: `zookeeper://127.0.0.1:${others[0]?.port}/elections` });
  const lease = await win(provider, request());
  await member[fault]();
  try {
    await renewed(provider, lease);
    await ensemble.ready(others);
    await until("the rival is answered", () => {
      return rival.acquire(request({ electionGroup: lease.electionGroup }), soon()).then((answer) => {
        assert.ok(!answer.acquired, "the lease is still ours");
        return true;
      }, () => false);
    });
    await renewed(provider, lease);
  } finally {
    await (fault === "kill" ? member.restart() : member.thaw());
  }
  await ensemble.ready();
  await renewed(provider, lease);
  assert.equal(await provider.release(lease, soon()), "released");
  // The rival's server may be behind, and say for a moment that the lease is held.
  const next = await until("the rival is granted the lease", async () => {
    const answer = await rival.acquire(request({ electionGroup: lease.electionGroup }), soon());
    return answer.acquired ? answer.lease : null;
  });
  assert.ok(next.token > lease.token, "tokens grow from leader to leader of the ensemble");
}

async function rollingRestart(ensemble: Ensemble): Promise<void> {
  await using provider = zookeeperProvider({ url: ensemble.url });
  const lease = await win(provider, request());
  let renewing = true;
  const heartbeats = (async () => {
    while (renewing) {
      await renewed(provider, lease);
      await delay(200);
    }
  })();
  try {
    for (const member of ensemble.members) {
      await member.restart();
      await Promise.race([ensemble.ready(), heartbeats]);
    }
  } finally {
    renewing = false;
  }
  await heartbeats;
  assert.equal((await provider.read(lease.electionGroup, soon()))?.token, lease.token);
}

async function quorumLost(ensemble: Ensemble): Promise<void> {
  const leader = await memberThatIs(ensemble, "leader");
  const followers = ensemble.members.filter((each) => each !== leader);
  await using provider = await attachedTo(ensemble, leader);
  await using other = zookeeperProvider({ url: ensemble.url });
  const lease = await win(provider, request());
  // What is left does not know yet that it is alone, and answers reads and pings: its word must not count as a renewal.
  await Promise.all(followers.map((each) => each.freeze()));
  await assert.rejects(provider.renew(lease, { signal: AbortSignal.timeout(1_000) }), "nothing is renewed alone");
  await Promise.all(followers.map((each) => each.kill()));
  await assert.rejects(provider.renew(lease, { signal: AbortSignal.timeout(1_000) }), "nothing is renewed alone");
  await assert.rejects(other.acquire(request(), { signal: AbortSignal.timeout(1_000) }));
  await assert.rejects(other.healthCheck({ signal: AbortSignal.timeout(1_000) }));
  await Promise.all(followers.map((each) => each.restart()));
  await ensemble.ready();
  await until("somebody leads", async () => {
    const asked = request({ electionGroup: lease.electionGroup });
    const answer = await other.acquire(asked, { signal: AbortSignal.timeout(2_000) }).catch(() => null);
    if (answer?.acquired) assert.ok(answer.lease.token > lease.token);
    return answer?.acquired === true;
  });
  assert.equal(await provider.renew(lease, soon()).catch(() => "unknown"), "lost");
}

/** Whole elections, with their deadlines: at no moment do both say that they lead, whatever happens to the servers. */
async function electionsNeverOverlap(ensemble: Ensemble): Promise<void> {
  const electionGroup = `overlap-${crypto.randomUUID()}`;
  const providers = [0, 1].map(() => zookeeperProvider({ url: ensemble.url }));
  const elections = providers.map((provider, i) =>
    new LeaderElection(provider, {
      electionGroup,
      participantId: `p${i}`,
      heartbeatTimeout: "3s",
      heartbeatInterval: "500ms",
      electionInterval: "500ms",
    })
  );
  let overlaps = 0;
  let last = 0n;
  const tokens: bigint[] = [];
  const watching = setInterval(() => {
    const leading = elections.filter((election) => election.isLeader);
    if (leading.length > 1) overlaps++;
    const token = leading[0]?.term?.token ?? last;
    if (token !== last) tokens.push(last = token);
  }, 1);
  try {
    await Promise.all(elections.map((election) => election.start()));
    const leads = () => elections.some((election) => election.isLeader);
    await until("somebody leads", leads);
    for (const part of ["leader", "follower"] as const) {
      const member = await memberThatIs(ensemble, part);
      await member.freeze();
      await delay(3_500);
      await member.thaw();
      await ensemble.ready();
      await until("somebody leads", leads);
    }
    const doomed = elections.find((election) => election.isLeader) ?? assert.fail();
    await doomed.stop();
    await until("the other leads", leads);
  } finally {
    clearInterval(watching);
    await Promise.all(elections.map((election) => election.stop()));
    await Promise.all(providers.map((provider) => provider[Symbol.asyncDispose]()));
  }
  assert.equal(overlaps, 0, "two led at once");
  assert.deepEqual(tokens, tokens.toSorted((a, b) => a < b ? -1 : 1), "tokens grow");
  assert.ok(tokens.length >= 2);
}
