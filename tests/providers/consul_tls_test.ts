/** Consul over TLS with certificates in files, a Consul that takes only small values, and one that was set up anew. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type ConsulFetch, consulProvider } from "../../providers/consul.ts";
import { ProviderError } from "../../src/errors.ts";
import { consulProgram, type ConsulServer, type ConsulSetup, startConsul } from "../servers/consul.ts";
import { newGroup, Opened, Post, request, soon, Watch, win } from "./consul/fixture.ts";
import { until } from "../until.ts";

/** Where Consul cannot be had there are no tests; the runner names the backend as skipped. */
const isThere = await consulProgram().then(() => true, () => false);

function consulTest(name: string, setup: ConsulSetup, work: (server: ConsulServer) => Promise<void>): void {
  if (!isThere) return;
  test(name, { timeout: 120_000 }, async () => {
    const server = await startConsul(setup);
    try {
      await work(server);
    } finally {
      await server.stop();
    }
  });
}

consulTest(
  "consul+https: reads certificates from files, to a name and to an address",
  { isTls: true },
  async (server) => {
    const { ca, cert, key } = server.files;
    const trusting = `ca=${encodeURIComponent(ca)}`;
    const known = `${trusting}&cert=${encodeURIComponent(cert)}&key=${encodeURIComponent(key)}`;
    for (const host of ["localhost", "127.0.0.1"]) {
      const url = server.url.replace("localhost", host);
      await using provider = consulProvider({ url: `${url}?${known}` });
      await provider.healthCheck(soon());
      const lease = await win(provider, request(newGroup()));
      assert.equal(await provider.renew(lease, soon()), "renewed");
      assert.equal(await provider.release(lease, soon()), "released");
    }
    const named = `${server.url}?${known}&servername=server.dc1.consul`;
    await using renamed = consulProvider({ url: named });
    await renamed.healthCheck(soon());
    const refused: readonly [string, string, RegExp][] = [
      ["an authority that nobody trusts", "", /certificate|issuer/i],
      ["no certificate of the client", `?${trusting}`, /certificate|alert|closed|hang up|reset|pipe|ECONN/i],
      ["a server of another name", `?${known}&servername=elsewhere.example`, /elsewhere|altname|NotValidForName/i],
      ["a file that is not there", `?ca=${encodeURIComponent(`${ca}.gone`)}`, /setting "ca"/],
    ];
    for (const [what, query, why] of refused) {
      await using provider = consulProvider({ url: `${server.url}${query}` });
      await assert.rejects(provider.healthCheck(soon()), (error) => {
        assert.ok(error instanceof ProviderError, what);
        assert.match(error.message, why, what);
        return true;
      });
    }
  },
);

consulTest(
  "metadata that Consul refuses costs neither the lease nor others",
  { maxValueBytes: 1_000 },
  async (server) => {
    await using opened = new Opened(server.url);
    const warnings: string[] = [];
    const quiet = () => {};
    const logger = { debug: quiet, info: quiet, error: quiet, warn: (message: string) => void warnings.push(message) };
    const post = new Post();
    const provider = opened.open({ logger, fetch: post.fetch });
    const small = { role: "small" };
    const [one, two] = [
      await win(provider, request(newGroup(), { metadata: small })),
      await win(provider, request(newGroup(), { metadata: small })),
    ];
    const large = { large: "x".repeat(2_000) };
    for (let i = 0; i < 3; i++) {
      const both = [
        provider.renew(one, { ...soon(), metadata: large }),
        provider.renew(two, { ...soon(), metadata: { i: "i" } }),
      ];
      assert.deepEqual(await Promise.all(both), ["renewed", "renewed"]);
    }
    assert.deepEqual((await opened.open().read(one.electionGroup, soon()))?.metadata, small, "it keeps what it had");
    assert.deepEqual((await opened.open().read(two.electionGroup, soon()))?.metadata, { i: "i" });
    assert.equal(warnings.length, 3);
    assert.equal(await provider.renew(one, { ...soon(), metadata: { role: "other" } }), "renewed");
    assert.deepEqual((await opened.open().read(one.electionGroup, soon()))?.metadata, { role: "other" });
    // Who cannot even write the first record is told so, and leaves the group to others.
    const wanted = request(newGroup(), { metadata: large });
    await assert.rejects(provider.acquire(wanted, soon()), /too large/);
    assert.equal(await provider.release(await win(provider, request(wanted.electionGroup)), soon()), "released");

    // The first heartbeat adds the token to a record that only just fitted.
    const bare = request(newGroup(), { metadata: { fill: "" } });
    const size = (await recordOf(server.url, await win(provider, bare))).length;
    const full = await win(provider, request(newGroup(), { metadata: { fill: "x".repeat(1_000 - size) } }));
    assert.equal((await recordOf(server.url, full)).length, 1_000);
    assert.equal(await provider.renew(full, soon()), "renewed");
    assert.equal(await provider.renew(full, soon()), "renewed");

    // Heartbeats that together are larger than one request may be go out in parts.
    const leases = await Promise.all(
      Array.from({ length: 64 }, () => win(provider, request(newGroup(), { metadata: { fill: "x".repeat(500) } }))),
    );
    const answers = await Promise.all(leases.map((lease) => provider.renew(lease, soon())));
    assert.deepEqual(new Set(answers), new Set(["renewed"]));
  },
);

consulTest(
  "watch() goes on with the log that is there, when servers were set up anew behind their agent",
  {},
  async (old) => {
    const anew = await startConsul();
    try {
      await using before = new Opened(old.url);
      await using after = new Opened(anew.url);
      // An agent, or a balancer, that stays: it answers from whatever servers there are.
      let isAnew = false;
      const askedBehind: number[] = [];
      const fetchThere: ConsulFetch = (url, init) => {
        if (!isAnew) return fetch(url, init);
        askedBehind.push(Number(new URL(url).searchParams.get("index") ?? 0));
        return fetch(url.replace(hostOf(old), hostOf(anew)), init);
      };
      const electionGroup = newGroup();
      const leader = before.open();
      // So long that its renewals are no hints.
      const lease = await win(leader, request(electionGroup, { heartbeatTimeout: 8_000 }));
      // The old log is far ahead of the new one.
      for (let i = 0; i < 60; i++) assert.equal(await leader.renew(lease, soon()), "renewed");
      const next = await win(after.open(), request(electionGroup, { heartbeatTimeout: 60_000 }));
      const watch = new Watch(before.open({ fetch: fetchThere }), electionGroup);
      await until("it is live", () => watch.hints === 1);
      isAnew = true;
      await until("it sees the new log", () => watch.hints === 2);
      assert.equal(await after.open().release(next, soon()), "released");
      await until("the release is seen", () => watch.hints === 3);
      await watch.end();
      // Behind an index that the new log has yet to reach, a query would wait for its whole time.
      const [first = 0, ...since] = askedBehind;
      assert.ok(since.length > 0 && since.every((index) => index < first), `${first}, then ${since.join()}`);
    } finally {
      await anew.stop();
    }
  },
);

function hostOf({ url }: ConsulServer): string {
  return url.replace("consul://", "");
}

async function recordOf(url: string, { electionGroup }: { electionGroup: string }): Promise<string> {
  const path = `/v1/kv/multilock/${electionGroup}/.lock?raw`;
  return await (await fetch(`${url.replace("consul:", "http:")}${path}`, soon())).text();
}
