/** What a provider over a database does while the wall clock of its server is stepped. */

import assert from "node:assert/strict";
import { LeaderElection } from "../../src/election.ts";
import type { Provider } from "../../src/provider.ts";
import type { SteppedServer } from "../servers/stepped_clock.ts";
import { acquire, lead, newTable, soon, took, wait } from "./sql_support.ts";
import { until } from "../until.ts";

const HOUR_S = 3_600;

/** Opens a provider of the server, which keeps its leases in a table. */
interface ProvidersOf {
  open(options: { readonly url: string; readonly table: string }): Provider;
  close(): Promise<void>;
}

/** Registers the cases. `start` makes a server, if one can be had here, and `newProviders` what opens its providers. */
export function clockCases(start: () => Promise<SteppedServer>, newProviders: () => ProvidersOf): void {
  /** Runs `work` with a server of its own. */
  function withClock(name: string, work: (server: SteppedServer, providers: ProvidersOf) => Promise<void>): void {
    Deno.test({
      name,
      sanitizeOps: false,
      sanitizeResources: false,
      async fn() {
        let server: SteppedServer;
        try {
          server = await start();
        } catch (error) {
          console.error(`SKIPPED: ${name}: ${error}`);
          return;
        }
        const providers = newProviders();
        try {
          await work(server, providers);
        } finally {
          await providers.close();
          await server.stop();
        }
      },
    });
  }

  withClock("a step forwards takes no lease from its leader, who renews it", async (server, providers) => {
    const options = { url: server.url, table: newTable() };
    const [leader, follower] = [providers.open(options), providers.open(options)];
    const leases = [await lead(leader, "a"), await lead(leader, "b"), await lead(leader, "c")];
    const [a, b, c] = leases;
    assert.ok(a && b && c);
    for (const { electionGroup } of leases) await follower.read(electionGroup, soon());
    await server.setClock(HOUR_S);
    for (const { electionGroup, termId } of leases) {
      const answer = await acquire(follower, electionGroup);
      assert.ok(!answer.acquired, "whoever has asked before the step does not believe it");
      assert.equal(answer.leader?.termId, termId);
      const left = (await follower.read(electionGroup, soon()))?.expiresIn;
      assert.ok(left && left > 0 && left <= 60_060, `${left} ms are left`);
    }
    // Alone, and with others.
    assert.equal(await leader.renew(a, soon()), "renewed");
    assert.deepEqual(await Promise.all([a, b].map((lease) => leader.renew(lease, soon()))), ["renewed", "renewed"]);
    // One that goes now leaves nothing for the others to wait for.
    assert.equal(await leader.release(c, soon()), "released");
    await lead(follower, "c");
    // A process that asks for the first time cannot know, as documented; but what was renewed since is safe.
    const newcomer = providers.open(options);
    for (const { electionGroup } of [a, b]) assert.ok(!(await acquire(newcomer, electionGroup)).acquired);
    assert.equal(await leader.renew(a, soon()), "renewed");
  });

  withClock("a step back and then forwards between two looks gives no lease away", async (server, providers) => {
    const options = { url: server.url, table: newTable() };
    const heartbeatTimeout = 5_000;
    const [leader, follower] = [providers.open(options), providers.open(options)];
    const lease = await lead(leader, "g", { heartbeatTimeout });
    await follower.read("g", soon());
    await server.setClock(-300);
    assert.equal(await leader.renew(lease, soon()), "renewed");
    const renewedAt = performance.now();
    await server.setClock(-290);
    for (let look = 0; look < 5; look++) {
      const answer = await acquire(follower, "g", { heartbeatTimeout });
      // The machine may have stalled for a whole lease, and then nothing can be said.
      if (performance.now() - renewedAt < heartbeatTimeout * 0.9) {
        assert.ok(!answer.acquired, "its leader has just renewed");
      }
    }
    assert.equal(await leader.renew(lease, soon()), "renewed");
    const time = await took(() =>
      until("succeeded", async () => (await acquire(follower, "g", { heartbeatTimeout })).acquired)
    );
    assert.ok(time >= heartbeatTimeout * 0.8 && time < heartbeatTimeout * 2, `after ${time} ms`);
  });

  withClock("a lease that was taken after a step back is not ended by a smaller one forwards", async (server, all) => {
    const options = { url: server.url, table: newTable() };
    const heartbeatTimeout = 5_000;
    const [leader, follower] = [all.open(options), all.open(options)];
    await lead(leader, "another");
    await follower.read("another", soon());
    await server.setClock(-300);
    const lease = await lead(leader, "g", { heartbeatTimeout });
    const takenAt = performance.now();
    await server.setClock(-290);
    const answer = await acquire(follower, "g", { heartbeatTimeout });
    if (performance.now() - takenAt < heartbeatTimeout * 0.9) assert.ok(!answer.acquired, "it has just been taken");
    if (!answer.acquired) assert.equal(await leader.renew(lease, soon()), "renewed");
  });

  withClock("a leader keeps its term, when the clock is set back and then forwards", async (server, providers) => {
    const options = { url: server.url, table: newTable() };
    const heartbeatTimeout = 5_000;
    const leader = providers.open(options);
    const lease = await lead(leader, "g", { heartbeatTimeout });
    const others = [await lead(leader, "h", { heartbeatTimeout }), await lead(leader, "i", { heartbeatTimeout })];
    const renewAll = () => Promise.all([lease, ...others].map((each) => leader.renew(each, soon())));
    // Alone, and with others.
    for (const renew of [async () => [await leader.renew(lease, soon())], renewAll]) {
      await server.setClock(0);
      await renewAll();
      for (const seconds of [-300, -290, 10]) {
        await server.setClock(seconds);
        assert.deepEqual(new Set(await renew()), new Set(["renewed"]), `with the clock set to ${seconds} s`);
      }
    }
  });

  withClock("a leader that has died before a step forwards is succeeded within a lease", async (server, providers) => {
    const options = { url: server.url, table: newTable() };
    const heartbeatTimeout = 2_000;
    const [leader, follower] = [providers.open(options), providers.open(options)];
    const lease = await lead(leader, "g", { heartbeatTimeout });
    await acquire(follower, "g", { heartbeatTimeout });
    await server.setClock(HOUR_S);
    const time = await took(() =>
      until("succeeded", async () => (await acquire(follower, "g", { heartbeatTimeout })).acquired)
    );
    assert.ok(time >= heartbeatTimeout * 0.8, `after ${time} ms`);
    assert.equal(await leader.renew(lease, soon()), "lost");
  });

  withClock("a step back keeps no dead leader in office, and is mended by a living one", async (server, providers) => {
    const options = { url: server.url, table: newTable() };
    const heartbeatTimeout = 2_000;
    const [leader, follower] = [providers.open(options), providers.open(options)];
    const alive = await lead(leader, "alive", { heartbeatTimeout });
    await lead(leader, "dead", { heartbeatTimeout });
    await follower.read("dead", soon());
    await server.setClock(-HOUR_S);
    assert.equal(await leader.renew(alive, soon()), "renewed");
    for (const provider of [leader, follower, providers.open(options)]) {
      for (const electionGroup of ["alive", "dead"]) {
        const { expiresIn } = await provider.read(electionGroup, soon()) ?? {};
        assert.ok(expiresIn === undefined || (expiresIn !== null && expiresIn <= 2_010), `${expiresIn} ms are left`);
      }
    }
    let renewals = 0;
    const time = await took(() =>
      until("succeeded", async () => {
        if (await leader.renew(alive, soon()) === "renewed") renewals++;
        await wait(200);
        assert.ok(!(await acquire(follower, "alive", { heartbeatTimeout })).acquired, "the living keep their lease");
        return (await acquire(follower, "dead", { heartbeatTimeout })).acquired;
      })
    );
    assert.ok(renewals >= 5, `${renewals} renewals in ${time} ms`);
    // It would not be reported either, by one who only looks.
    const reader = providers.open(options);
    await lead(leader, "gone", { heartbeatTimeout });
    await server.setClock(-3 * HOUR_S);
    await until("unreported", async () => await reader.read("gone", soon()) === null);
    // Mended: the leader's next heartbeat writes an expiry that the clock of now can reach.
    assert.equal(await leader.renew(alive, soon()), "renewed");
    const newcomer = providers.open(options);
    await until("free for a newcomer, who asks twice", async () => {
      const [first] = [await acquire(newcomer, "alive", { heartbeatTimeout })];
      return first.acquired;
    });
  });

  withClock("two elections never lead at once, whatever the clock does", async (server, providers) => {
    const options = {
      electionGroup: "g",
      heartbeatTimeout: "3s",
      heartbeatInterval: "1s",
      requestTimeout: "1s",
      electionInterval: "200ms",
      logger: { debug() {}, info() {}, warn() {}, error() {} },
    } as const;
    const table = newTable();
    const elections = [1, 2].map((i) =>
      new LeaderElection(providers.open({ url: server.url, table }), { ...options, participantId: `p${i}` })
    );
    for (const election of elections) await election.start();
    await until("led", () => elections.some(({ isLeader }) => isLeader));
    await wait(500);
    const led = () => elections.filter(({ isLeader }) => isLeader).length;
    for (const seconds of [60, 30, HOUR_S, -HOUR_S, 0]) {
      await server.setClock(seconds);
      const deadline = performance.now() + 2_500;
      while (performance.now() < deadline) {
        assert.ok(led() <= 1, `two lead, with the clock set to ${seconds} s`);
        await wait(2);
      }
      await until("led again", () => led() === 1);
    }
    await Promise.all(elections.map((election) => election.stop()));
  });
}
