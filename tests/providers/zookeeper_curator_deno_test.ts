/** Elections in which participants of this library and of Apache Curator take part, each as what it is. */

import assert from "node:assert/strict";
import { zookeeperProvider } from "../../providers/zookeeper.ts";
import { LeaderElection } from "../../src/election.ts";
import type { AcquireRequest, Held, Lease, Provider } from "../../src/provider.ts";
import { follow } from "../../testing/conformance/watch_cases.ts";
import { removeDirectory, temporaryDirectory } from "../servers/process.ts";
import { askServer, zookeeperServer } from "../servers/zookeeper.ts";
import { until } from "../until.ts";
import { compileCurator, type Curator, installCurator, startCurator } from "./zookeeper/curator.ts";

const soon = () => ({ signal: AbortSignal.timeout(10_000) });

Deno.test(
  "zookeeperProvider() and Curator share an election",
  { sanitizeOps: false, sanitizeResources: false },
  async (t) => {
    try {
      await zookeeperServer.install();
      await installCurator();
    } catch (error) {
      console.error(`SKIPPED: Curator cannot be had: ${error}`);
      return;
    }
    const classes = await temporaryDirectory("curator");
    const server = await zookeeperServer.start();
    try {
      await compileCurator(classes);
      await using first = startCurator(classes, server.url);
      await using second = startCurator(classes, server.url);
      await using provider = zookeeperProvider({ url: server.url });
      await t.step(
        "leadership passes from one to the other and back",
        () => passesBothWays(server.url, provider, first),
      );
      await t.step("they queue up in one order", () => oneQueue(server.url, provider, first, second));
      await t.step("one that crashes is followed by the other", () => crashes(provider, first));
      await t.step("whole elections never overlap with Curator's", () => neverOverlap(server.url, second));
    } finally {
      await server.stop();
      await removeDirectory(classes);
    }
  },
);

function request(electionGroup: string, changes: Partial<AcquireRequest> = {}): AcquireRequest {
  const termId = crypto.randomUUID();
  return { electionGroup, participantId: "ours", termId, heartbeatTimeout: 5_000, metadata: {}, ...changes };
}

async function win(provider: Provider, asked: AcquireRequest): Promise<Lease> {
  const answer = await provider.acquire(asked, soon());
  assert.ok(answer.acquired, `"${asked.electionGroup}" is held`);
  return answer.lease;
}

async function lose(provider: Provider, asked: AcquireRequest): Promise<Held> {
  const answer = await provider.acquire(asked, soon());
  assert.ok(!answer.acquired, "Curator leads");
  return answer;
}

/** Waits until the node of `lease` is watched: by a Curator participant, since ours does not watch its own here. */
async function watched(url: string, { termId }: Lease): Promise<void> {
  const port = Number(new URL(url.replace("zookeeper:", "http:")).port);
  await until("Curator waits behind our node", async () => (await askServer(port, "wchp")).includes(termId));
}

async function passesBothWays(url: string, provider: Provider, curator: Curator): Promise<void> {
  const group = `curator-${crypto.randomUUID()}`;
  let token = 0n;
  for (let turn = 0; turn < 3; turn++) {
    const lease = await win(provider, request(group, { metadata: { turn: `${turn}` } }));
    assert.ok(lease.token > token, `token must grow over Curator's terms: ${lease.token} came after ${token}`);
    await curator.join(group, `theirs-${turn}`);
    await watched(url, lease);
    assert.equal(await curator.who(), "ours");
    // Curator would be deaf for ever if this wrote to the node that it watches.
    assert.equal(await provider.renew(lease, { ...soon(), metadata: { turn: "again" } }), "renewed");
    assert.equal(await curator.leads(), false);
    assert.equal(await provider.release(lease, soon()), "released");
    await until("Curator leads", () => curator.leads());
    const { leader } = await lose(provider, request(group));
    assert.deepEqual([leader?.leaderId, leader?.metadata], [`theirs-${turn}`, {}]);
    assert.ok(leader !== null && leader.token > lease.token);
    assert.deepEqual(await provider.read(group, soon()), leader);
    token = leader.token;
    const watcher = follow(provider, group, "ours") ?? assert.fail();
    await watcher.more(0);
    const hints = watcher.hints();
    await curator.leave();
    await watcher.more(hints);
    const next = await win(provider, request(group));
    assert.ok(next.token > token);
    token = next.token;
    await watcher.stop();
    assert.equal(await provider.release(next, soon()), "released");
  }
}

/** Ours leads, then Curator's, then ours, then Curator's: in the order in which they joined. */
async function oneQueue(url: string, provider: Provider, first: Curator, second: Curator): Promise<void> {
  const group = `queue-${crypto.randomUUID()}`;
  const leading = await win(provider, request(group, { participantId: "ours-0" }));
  await first.join(group, "theirs-1");
  await watched(url, leading);
  await lose(provider, request(group, { participantId: "ours-2" }));
  const watcher = follow(provider, group, "ours-2") ?? assert.fail();
  await watcher.more(0);
  await second.join(group, "theirs-3");
  assert.equal(await provider.release(leading, soon()), "released");
  await until("the first of Curator's leads", () => first.leads());
  assert.equal(await second.leads(), false);
  await lose(provider, request(group, { participantId: "ours-2" }));
  const hints = watcher.hints();
  await first.leave();
  await watcher.more(hints);
  assert.equal(await second.leads(), false, "it is our turn, also while we have not taken it");
  const next = await win(provider, request(group, { participantId: "ours-2" }));
  assert.equal(await second.leads(), false);
  assert.equal(await second.who(), "ours-2");
  assert.equal(await provider.release(next, soon()), "released");
  await until("the second of Curator's leads", () => second.leads());
  await watcher.stop();
  await second.leave();
}

async function crashes(provider: Provider, curator: Curator): Promise<void> {
  const group = `crash-${crypto.randomUUID()}`;
  await curator.join(group, "theirs");
  await until("Curator leads", () => curator.leads());
  await lose(provider, request(group));
  await curator.kill();
  await until("ours leads, when Curator's session has expired", async () => {
    return (await provider.acquire(request(group), soon())).acquired;
  });
}

async function neverOverlap(url: string, curator: Curator): Promise<void> {
  const electionGroup = `overlap-${crypto.randomUUID()}`;
  await using provider = zookeeperProvider({ url });
  await using election = new LeaderElection(provider, {
    ...{ electionGroup, participantId: "ours", metadata: { kind: "whole election" } },
    ...{ heartbeatTimeout: "3s", heartbeatInterval: "500ms", electionInterval: "1s" },
  });
  await election.start();
  for (let turn = 0; turn < 3; turn++) {
    await until("ours leads", () => election.isLeader);
    assert.equal(await curator.leads(), false);
    await curator.join(electionGroup, "theirs");
    await until("Curator has joined", async () => await curator.who() === "ours");
    const released = election.releaseLeadership({ cooldown: 0 });
    await until("Curator leads", async () => {
      const leads = await curator.leads();
      // It led when it answered, and goes on until it is told to leave.
      assert.ok(!(leads && election.isLeader), "two lead at once");
      return leads;
    });
    await released;
    await until("ours sees Curator's leader", () => election.status.currentLeader?.leaderId === "theirs");
    assert.equal(election.isLeader, false);
    await curator.leave();
  }
}
