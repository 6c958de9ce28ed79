/** Which member of a cluster is asked, and when another. Gateways to one etcd stand for the members. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type EtcdOptions, etcdProvider } from "../../providers/etcd.ts";
import { parseTarget } from "../../providers/etcd/target.ts";
import { ProviderError } from "../../src/errors.ts";
import type { Provider } from "../../src/provider.ts";
import { backend } from "../servers/backend.ts";
import { freePort } from "../servers/process.ts";
import { request, soon, win } from "./asking.ts";
import { Gateway, newGroup, Opened } from "./etcd/support.ts";

test("etcdProvider() reads members, prefix and credentials from its URL", () => {
  const none = { credentials: null, tls: null };
  assert.deepEqual(parseTarget("etcd://e"), { origins: ["http://e:2379"], prefix: "multilock/", ...none });
  assert.deepEqual(parseTarget("ETCD://a:1,[::1]:2,c/x/y/"), {
    ...{ origins: ["http://a:1", "http://[::1]:2", "http://c:2379"], prefix: "x/y/", ...none },
  });
  assert.equal(parseTarget("etcd://e//service/app").prefix, "/service/app/");
  assert.deepEqual(parseTarget("etcd+https://u:p%40%2F@e?ca=a.pem&servername=s"), {
    origins: ["https://e:2379"],
    prefix: "multilock/",
    credentials: { name: "u", password: "p@/" },
    tls: { ca: "a.pem", servername: "s" },
  });
});

test("etcdProvider() refuses what it cannot use, and tells no password", () => {
  const bad: readonly [EtcdOptions, RegExp][] = [
    [{ url: "etcd:e" }, /must look like/],
    [{ url: "etcd://" }, /no host:port/],
    [{ url: "etcd://a:0" }, /between 1 and 65535/],
    [{ url: "etcd://a,,b" }, /no host:port/],
    [{ url: "etcd://u:hush/hush@e" }, /percent-encoded/],
    [{ url: "etcd://user@e" }, /user:password/],
    [{ url: "etcd://u:%hush@e" }, /percent sign/],
    [{ url: "etcd://e?prefx=hush" }, /setting "prefx"/],
    [{ url: "etcd://e?ca=a.pem" }, /etcd\+https/],
    [{ url: "etcd+https://e?cert=a.pem" }, /cert and key/],
    [{ urls: "etcd://e" } as EtcdOptions, /option "urls".*"url"/],
    ["etcd://e" as EtcdOptions, /options must be an object/],
  ];
  for (const [options, why] of bad) {
    assert.throws(() => etcdProvider(options), (error) => {
      assert.ok((error instanceof TypeError || error instanceof RangeError) && !error.message.includes("hush"));
      assert.match(error.message, why);
      return true;
    });
  }
});

const server = backend("etcd");
if (server !== null) testMembers(server.url);

/** Two members, and a provider that has asked one of them. */
async function members(url: string, opened: Opened) {
  const gateways = await Promise.all([Gateway.to(url), Gateway.to(url)]);
  const provider = opened.open({ url: `etcd://${gateways.map((each) => each.url.replace("etcd://", "")).join(",")}` });
  await provider.healthCheck(soon());
  const [asked, other] = gateways.toSorted((a, b) => b.sent.length - a.sent.length);
  assert.ok(asked && other && asked.sent.length === 1 && other.sent.length === 0, "one member is asked");
  const close = () => Promise.all(gateways.map((each) => each[Symbol.asyncDispose]()));
  return { asked, other, provider, [Symbol.asyncDispose]: async () => void await close() };
}

function testMembers(url: string): void {
  test("a member that leaves a request unanswered is not asked next", async () => {
    await using opened = new Opened(url);
    await using cluster = await members(url, opened);
    const { asked, other, provider } = cluster;
    asked.hook = () => new Promise(() => {});
    await assert.rejects(provider.read("g", { signal: AbortSignal.timeout(300) }));
    assert.equal(other.sent.length, 0, "what may have been done is not sent to another");
    await provider.read("g", soon());
    assert.equal(other.sent.length, 1);
  });

  test("a member that hangs up is not asked next", async () => {
    await using opened = new Opened(url);
    await using cluster = await members(url, opened);
    const { asked, other, provider } = cluster;
    asked.hook = () => Promise.resolve(null);
    await assert.rejects(provider.read("g", soon()), ProviderError);
    assert.equal(other.sent.length, 0);
    await provider.read("g", soon());
    assert.equal(other.sent.length, 1);
  });

  test("a member that has no leader is left within the call, and one whose request may go on is not", async () => {
    await using opened = new Opened(url);
    await using cluster = await members(url, opened);
    const { asked, other, provider } = cluster;
    const refuse = (message: string) => () => {
      return Promise.resolve({ status: 503, text: JSON.stringify({ code: 14, message, error: message }) });
    };
    asked.hook = refuse("etcdserver: no leader");
    await win(provider, request(newGroup()));
    assert.equal(asked.sent.length, 2);
    other.hook = refuse("etcdserver: request timed out");
    const before = asked.sent.length;
    await assert.rejects(provider.read("g", soon()), /timed out/);
    assert.equal(asked.sent.length, before);
  });

  test("a member that refuses connections is passed by, whichever comes first", async () => {
    await using opened = new Opened(url);
    const dead = `127.0.0.1:${await freePort()}`;
    for (let i = 0; i < 8; i++) {
      const provider: Provider = opened.open({ url: `etcd://${dead},${url.replace("etcd://", "")}` });
      await provider.healthCheck(soon());
    }
    await assert.rejects(opened.open({ url: `etcd://${dead},${dead}` }).healthCheck(soon()), /refused|ECONNREFUSED/i);
  });

  test("a server that is not etcd, or has no gateway, is named", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    for (
      const [answer, why] of [
        [{ status: 200, text: "<html>" }, /not etcd.*<html>/],
        [{ status: 404, text: "404 page not found" }, /etcd 3\.4 or later.*grpc-gateway/],
        [{ status: 502, text: "bad gateway" }, /502 bad gateway/],
      ] as const
    ) {
      gateway.hook = () => Promise.resolve(answer);
      await assert.rejects(provider.healthCheck(soon()), (error) => {
        assert.ok(error instanceof ProviderError);
        assert.match(error.message, why);
        assert.equal(error.permanent, answer.status !== 502);
        return true;
      });
    }
  });
}
