/** The looks that a hand-off takes among many who share few connections, and what waiting costs the server. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { LeaderElection, type Provider } from "../../../mod.ts";
import { postgresProvider } from "../../../providers/postgres.ts";
import { ForwardingProvider } from "../../../src/forwarding_provider.ts";
import { sleep, systemClock } from "../../../src/time/clock.ts";
import { parseNotification } from "../../../providers/postgres/messages.ts";
import { backend } from "../../servers/backend.ts";
import { patience } from "../../slowness.ts";
import { request, soon, tellsRenewal, win } from "../asking.ts";
import { checkIdle } from "../idle.ts";

/** As many as a server of a hundred connections serves well; each of them has a hundred participants. */
const PROCESSES = 10;
const CONTENDERS = 1_000;

test("parseNotification() reads what the statements tell, and takes all else for a reason to look", () => {
  const of = (text: string) => parseNotification(`g>${text}`).hint;
  assert.deepEqual(of("free  "), {});
  assert.deepEqual(of("free  p"), { transferTo: "p" });
  const renewed = { termId: "t", expiresIn: 3_000, lastHeartbeat: new Date(1_700_000_000_000) };
  assert.deepEqual(of("renewed t 1700000000000.25 3000"), { renewed });
  for (const text of ["", "p", "renewed t", "leads", "leads 1 p t x 1 1 {}", "leads 1 p  1 1 1 {}"]) {
    assert.deepEqual(of(text), {}, text);
  }
  assert.deepEqual(parseNotification("g"), { group: "g", hint: {} });
});

const target = backend("postgres");
if (target !== null) {
  const LONG = { timeout: patience(120_000) };
  test("those who wait are told who has won, unless the metadata are large", LONG, () => toldOfTheWinner(target.url));
  test("a follower costs 12 statements a minute, a leader 60, with a lease of 3 s", LONG, async () => {
    const table = `idle_${crypto.randomUUID().slice(0, 8)}`;
    await checkIdle(target.url, (url) => postgresProvider({ url, table }));
  });
  test(`a hand-off among ${CONTENDERS} takes at most 20 acquires, and all hear of the leader`, {
    timeout: patience(120_000),
  }, () => handOff(target.url));
}

async function toldOfTheWinner(url: string): Promise<void> {
  const table = `told_${crypto.randomUUID().slice(0, 8)}`;
  await using a = postgresProvider({ url, table });
  await using b = postgresProvider({ url, table });
  for (const size of [10, 3_000, 5_000]) {
    const electionGroup = crypto.randomUUID();
    // The first term of a group has nobody to tell.
    await a.release(await win(a, request(electionGroup)), soon());
    const listening = new AbortController();
    const hints = b.watch?.(electionGroup, listening)[Symbol.asyncIterator]();
    assert.deepEqual((await hints?.next())?.value, {});
    const metadata = { a: 'x"\\\u0001\u00e9'.repeat(size / 10) };
    const next = hints?.next();
    const lease = await win(a, request(electionGroup, { metadata }));
    const seen = await b.read(electionGroup, soon());
    if (JSON.stringify(metadata).length < 4_000) {
      assert.deepEqual({ ...(await next)?.value?.leader, expiresIn: 0 }, { ...seen, expiresIn: 0 });
      const again = hints?.next();
      // The same term asks again: no news.
      await win(a, request(electionGroup, { metadata, termId: lease.termId }));
      assert.equal(await a.release(lease, { ...soon(), transferTo: "p2" }), "released");
      assert.deepEqual((await again)?.value, { transferTo: "p2" });
    } else {
      assert.equal(await a.release(lease, { ...soon(), transferTo: "p2" }), "released");
      assert.deepEqual((await next)?.value, { transferTo: "p2" });
    }
    const short = await win(a, request(electionGroup, { heartbeatTimeout: 3_000 }));
    await hints?.next();
    await tellsRenewal(a, short, hints);
    listening.abort();
    await hints?.return?.();
    await a.release(short, soon());
  }
}

async function handOff(url: string): Promise<void> {
  let acquires = 0;
  const table = `hand_off_${crypto.randomUUID().slice(0, 8)}`;
  const providers = Array.from({ length: PROCESSES }, (): Provider => {
    const inner = postgresProvider({ url, table });
    // Each call is one statement.
    return Object.assign(new ForwardingProvider(inner), {
      acquire(...args: Parameters<Provider["acquire"]>) {
        acquires++;
        return inner.acquire(...args);
      },
    });
  });
  const timing = { heartbeatTimeout: "120s", heartbeatInterval: "30s", electionInterval: "60s" } as const;
  const elections = Array.from(
    { length: CONTENDERS },
    (_, index) =>
      new LeaderElection(providers[index % PROCESSES] ?? assert.fail(), {
        electionGroup: "g",
        participantId: `p${index}`,
        logger: null,
        ...timing,
      }),
  );
  for (const election of elections.slice(0, PROCESSES)) await election.start();
  await Promise.all(elections.map((election) => election.start()));
  // Those looks are over that new subscriptions called for.
  for (let before = -1; before !== acquires; await sleep(systemClock, 1_000)) before = acquires;
  for (let round = 0; round < 3; round++) {
    acquires = 0;
    const leader = elections.find(({ isLeader }) => isLeader) ?? assert.fail("nobody leads");
    await leader.releaseLeadership({ cooldown: "1h" });
    const knows = (next: LeaderElection) =>
      elections.every(({ status }) => status.currentLeader?.leaderId === next.participantId);
    for (const deadline = performance.now() + patience(30_000);;) {
      const next = elections.find(({ isLeader }) => isLeader);
      if (next !== undefined && knows(next)) break;
      assert(performance.now() < deadline, "not all have heard of the next leader");
      await sleep(systemClock, 20);
    }
    assert(acquires >= 1 && acquires <= 20, `${acquires} acquires`);
  }
  await Promise.all(elections.map((election) => election.stop()));
  await Promise.all(providers.map((provider) => provider[Symbol.asyncDispose]()));
}
