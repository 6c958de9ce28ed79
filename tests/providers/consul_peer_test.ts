/** The Consul provider beside locks that `npm:consul` takes, as its users write them. */

import Consul from "consul";
import assert from "node:assert/strict";
import { test } from "node:test";
import { consulProvider } from "../../providers/consul.ts";
import { backend } from "../servers/backend.ts";
import { newGroup, request, soon, win } from "./consul/fixture.ts";
import { until } from "../until.ts";

const server = backend("consul");

/** Says that a key is a lock, as Consul's own clients do. Its type is that of a number, which would lose digits. */
const flags = "3304740253564472344" as unknown as number;

/** A user of `npm:consul` who takes and gives back the lock of an election group. */
async function peerOf(url: string, electionGroup: string) {
  const { hostname: host, port } = new URL(url);
  const consul = new Consul({ host, port: Number(port) });
  const { ID: session } = await consul.session.create({ ttl: "60s", lockdelay: "0s" });
  const key = `multilock/${electionGroup}/.lock`;
  return {
    session,
    /** Resolves to true if it has been granted; this package makes nothing of the server's `false`. */
    acquire: (): Promise<unknown> => consul.kv.set({ key, value: "peer", flags, acquire: session }),
    release: (): Promise<unknown> => consul.kv.set({ key, value: "peer", flags, release: session }),
    end: (): Promise<unknown> => consul.session.destroy(session),
  };
}

if (server !== null) {
  test("a lock of npm:consul is refused while a participant leads, and granted once it has given up", async () => {
    const electionGroup = newGroup();
    const provider = consulProvider({ url: server.url });
    const peer = await peerOf(server.url, electionGroup);
    try {
      const lease = await win(provider, request(electionGroup));
      assert.notEqual(await peer.acquire(), true);
      assert.equal(await provider.renew(lease, soon()), "renewed");
      assert.equal(await provider.release(lease, soon()), "released");
      assert.equal(await peer.acquire(), true);
      assert.equal(await provider.renew(lease, soon()), "lost");
    } finally {
      await peer.end();
      await provider[Symbol.asyncDispose]();
    }
  });

  test("a participant sees who holds a lock of npm:consul, and leads under a larger token once it is free", async () => {
    const electionGroup = newGroup();
    const provider = consulProvider({ url: server.url });
    const peer = await peerOf(server.url, electionGroup);
    const watching = new AbortController();
    try {
      const first = await win(provider, request(electionGroup));
      await provider.release(first, soon());
      assert.equal(await peer.acquire(), true);
      const answer = await provider.acquire(request(electionGroup), soon());
      assert.ok(!answer.acquired && answer.leader !== null);
      assert.equal(answer.leader.leaderId, `consul-session-${peer.session}`);
      assert.ok(answer.leader.token > first.token);
      let hints = 0;
      const watched = (async () => {
        for await (const _ of provider.watch?.(electionGroup, watching) ?? []) hints++;
      })().catch(() => {});
      // The first says that the stream is alive.
      await until("a stream", () => hints > 0);
      assert.equal(await peer.release(), true);
      await until("a hint", () => hints > 1);
      assert.ok((await win(provider, request(electionGroup))).token > answer.leader.token);
      watching.abort();
      await watched;
    } finally {
      watching.abort();
      await peer.end();
      await provider[Symbol.asyncDispose]();
    }
  });
}
