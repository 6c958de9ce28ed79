/** The MySQL provider on a Galera cluster, both nodes of which are written. */

import assert from "node:assert/strict";
import type { Provider } from "../../../src/provider.ts";
import { installGalera, startGalera } from "../../servers/galera.ts";
import { until } from "../../until.ts";
import { acquire, lead, newTable, Providers, soon, sql } from "./support.ts";

Deno.test({
  name: "Galera: a conflict is a lost race, each node reads what the other has granted, and a minority grants nothing",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    try {
      await installGalera();
    } catch (error) {
      console.error(`SKIPPED: Galera: ${error}`);
      return;
    }
    const { nodes: [first, second], stop } = await startGalera();
    const providers = new Providers();
    try {
      const table = newTable();
      // So that a conflict is told, instead of the statement being run once more.
      for (const { url } of [first, second]) await sql(url, "SET GLOBAL wsrep_retry_autocommit = 0");
      const [one, other] = [first, second].map(({ url }) => providers.open({ url, table })) as [Provider, Provider];
      await lead(one, "made");
      const conflicts = async () => {
        const failed =
          `SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_local_cert_failures', 'wsrep_local_bf_aborts')`;
        const rows = [...await sql(first.url, failed), ...await sql(second.url, failed)];
        return rows.reduce((sum, { Value }) => sum + Number(Value), 0);
      };

      await t.step("of two that ask at two nodes at the same time one leads, under a larger token", async () => {
        const tokens = new Map<string, bigint>();
        const before = await conflicts();
        await until("conflicts", async () => {
          await Promise.all(Array.from({ length: 20 }, async (_, i) => {
            const group = `g${i}`;
            // In turns, since whoever asks a moment earlier has won before the other looks.
            const asked = i % 2 === 0 ? [one, other] : [other, one];
            const answers = await Promise.all(asked.map((provider) => acquire(provider, group)));
            const leases = answers.flatMap((answer) => answer.acquired ? [answer.lease] : []);
            assert.equal(leases.length, 1, `${leases.length} lead ${group}`);
            const [lease] = leases;
            assert.ok(lease !== undefined && lease.token > (tokens.get(group) ?? 0n), "tokens grow");
            tokens.set(group, lease.token);
            // What is undone by a conflict is unknown, and asked for again.
            const released = async () => await other.release(lease, soon()).catch(() => null) !== null;
            await until("released", released);
          }));
          return await conflicts() >= before + 10;
        }, 60_000);
      });

      await t.step("what one node has granted, the other knows at once", async () => {
        for (let i = 0; i < 30; i++) {
          const lease = await lead(one, `known${i}`);
          assert.equal((await other.read(`known${i}`, soon()))?.termId, lease.termId);
          assert.ok(!(await acquire(other, `known${i}`)).acquired);
        }
      });

      await t.step("a lease that is renewed at both nodes is lost at none", async () => {
        const lease = await lead(one, "both");
        const outcomes: unknown[] = [];
        for (let i = 0; i < 50; i++) {
          const calls = [one, other].map((provider) => provider.renew(lease, soon()));
          outcomes.push(...(await Promise.allSettled(calls)).map((each) => each.status === "fulfilled" && each.value));
        }
        // One that was undone by the other is unknown, never lost.
        assert.deepEqual([...new Set(outcomes)].filter((outcome) => outcome !== false), ["renewed"]);
        assert.equal((await other.read("both", soon()))?.token, lease.token);
      });

      await t.step("a lease that nobody renews is taken over at the other node, after a whole lease", async () => {
        const lease = await lead(one, "left", { heartbeatTimeout: 1_500 });
        const start = performance.now();
        const successor = await until("succeeded", async () => {
          const answer = await acquire(other, "left");
          return answer.acquired && answer.lease;
        });
        assert.ok(performance.now() - start >= 1_500 - 20, "the other node's clock is not believed");
        assert.ok(successor.token > lease.token);
        assert.equal(await one.renew(lease, soon()), "lost");
      });

      await t.step("inspect() tells how many nodes there are, and of one without a majority", async () => {
        const galera = async (provider: Provider) =>
          (await provider.inspect?.(soon()))?.findings.find(({ about }) => about === "Galera");
        assert.match((await galera(one))?.text ?? "", /^two nodes/);
        const lease = await lead(one, "kept");
        await first.kill();
        await until("left alone", async () => {
          // Until the node knows, a call waits; from then on it fails. None is granted.
          const answer = await acquire(other, "alone", { signal: AbortSignal.timeout(2_000) }).catch(String);
          assert.ok(typeof answer === "string" || !answer.acquired, "a minority has granted a lease");
          return /WSREP|cut off/.test(String(answer));
        }, 60_000);
        const cutOff = /WSREP|cut off from its cluster/;
        await assert.rejects(other.renew(lease, soon()), cutOff);
        await assert.rejects(other.read("kept", soon()), cutOff);
        assert.equal((await galera(other))?.level, "error");
      });
    } finally {
      await providers.close();
      await stop();
    }
  },
});
