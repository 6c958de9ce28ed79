/** What an API server refuses, and when it wants to be asked again; tokens that are replaced. */

import assert from "node:assert/strict";
import { copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { kubernetesProvider, type KubernetesRequest } from "../../providers/kubernetes.ts";
import { ApiClient } from "../../providers/kubernetes/client.ts";
import { TokenFile } from "../../providers/kubernetes/token_file.ts";
import { ProviderError } from "../../src/errors.ts";
import { sleep, systemClock } from "../../src/time/clock.ts";
import { VirtualClock } from "../../testing/virtual_clock.ts";
import { backend } from "../servers/backend.ts";
import { request, soon, win } from "./asking.ts";
import { type MadeUp, newGroup, Opened } from "./kubernetes/fixture.ts";

const directory = await mkdtemp(join(tmpdir(), "elect-test-tokens-"));
after(() => rm(directory, { recursive: true }));

/** A server that answers as a test says, and what it was asked. */
function scripted(answer: (asked: { path: string; authorization: string | undefined }) => MadeUp) {
  const asked: string[] = [];
  const request: KubernetesRequest = (path, { method, headers }) => {
    asked.push(`${method} ${path} ${headers.authorization ?? ""}`);
    const { status, headers: own = {}, body = "{}" } = answer({ path, authorization: headers.authorization });
    const text = String(body);
    const chunks = (async function* () {
      yield await Promise.resolve(new TextEncoder().encode(text));
    })();
    return Promise.resolve({ status, headers: { get: (name: string) => own[name] ?? null }, body: chunks });
  };
  return { request, asked };
}

const status = (code: number, reason: string, message = "no") =>
  JSON.stringify({ kind: "Status", code, reason, message });

test("a refusal says which verb the role lacks", async () => {
  const { request: answer } = scripted(() => ({ status: 403, body: status(403, "Forbidden", "User cannot do it") }));
  await using provider = kubernetesProvider({ url: "k8s:///jobs", request: answer });
  const refused: readonly [() => Promise<unknown>, string][] = [
    [() => provider.read("g", soon()), "get"],
    [() => provider.acquire(request("g"), soon()), "get"],
    [() => provider.groups?.(soon()) ?? Promise.resolve(), "list"],
    [async () => {
      for await (const _ of provider.watch?.("g", soon()) ?? []) assert.fail("there is no watch");
    }, "watch"],
  ];
  for (const [call, verb] of refused) {
    await assert.rejects(call(), (error) => {
      assert.ok(error instanceof ProviderError && error.permanent, String(error));
      assert.match(
        error.message,
        new RegExp(`the role lacks the verb "${verb}" on leases: 403 Forbidden: User cannot`),
      );
      return true;
    });
  }
});

test("a quota forbids, and says nothing about roles", async () => {
  const body = status(403, "Forbidden", 'leases "g" is forbidden: exceeded quota: few');
  const { request: answer } = scripted(() => ({ status: 403, body }));
  await using provider = kubernetesProvider({ url: "k8s:///jobs", request: answer });
  await assert.rejects(provider.read("g", soon()), (error) => {
    return error instanceof ProviderError && /exceeded quota/.test(error.message) && !/role/.test(error.message);
  });
});

test("an answer that is none of an API server's is an error that says so", async () => {
  for (const [code, body] of [[404, "404 page not found\n"], [200, "<html>"], [200, "null"]] as const) {
    const { request: answer } = scripted(() => ({ status: code, body }));
    await using provider = kubernetesProvider({ url: "k8s:///jobs", request: answer });
    await assert.rejects(provider.read("g", soon()), /no Kubernetes API with Leases/);
  }
  const { request: odd } = scripted(() => ({
    status: 200,
    body: JSON.stringify({ metadata: { name: "g", resourceVersion: "abc" }, spec: { holderIdentity: "h" } }),
  }));
  await using provider = kubernetesProvider({ url: "k8s:///jobs", request: odd });
  await assert.rejects(provider.read("g", soon()), (error) => {
    return error instanceof ProviderError && error.permanent && /"abc" is no number/.test(error.message);
  });
});

test("a namespace that is not there is an error that says so", async () => {
  const body = status(404, "NotFound");
  const { request: answer } = scripted(() => ({ status: 404, body }));
  await using provider = kubernetesProvider({ url: "k8s:///jobs", request: answer });
  await assert.rejects(provider.acquire(request("g"), soon()), /no such namespace/);
});

test("a server that is too busy is left alone for as long as it wants, and what was asked is unknown", async () => {
  for (const code of [429, 503]) {
    let isBusy = true;
    const clock = new VirtualClock();
    const { request: answer, asked } = scripted(() =>
      isBusy
        ? { status: code, headers: { "retry-after": "3" }, body: status(code, "TooManyRequests") }
        : { status: 404, body: status(404, "NotFound") }
    );
    await using provider = kubernetesProvider({ url: "k8s:///jobs", request: answer, clock });
    const lease = { ...request("g"), token: 1n, acquiredAt: new Date() };
    await assert.rejects(provider.renew(lease, soon()), (error) => {
      assert.ok(error instanceof ProviderError && !error.permanent);
      assert.match(error.message, new RegExp(`${code} TooManyRequests.*left alone for 3 s`));
      return true;
    });
    isBusy = false;
    const next = [provider.renew(lease, soon()), provider.read("other", soon())];
    await clock.advance(2_900);
    assert.equal(asked.length, 1, "all elections of the provider wait");
    await clock.advance(200);
    assert.deepEqual(await Promise.all(next), ["lost", null]);
    assert.equal(asked.length, 3);
    // Whoever gives up meanwhile sends nothing.
    isBusy = true;
    await assert.rejects(provider.read("g", soon()));
    const giveUp = new AbortController();
    const given = provider.read("g", { signal: giveUp.signal });
    await clock.advance(1_000);
    giveUp.abort(new Error("enough"));
    await assert.rejects(given, /enough/);
    await clock.advance(10_000);
    assert.equal(asked.length, 4);
  }
});

test("a server may not silence a leader for longer than ten seconds", async () => {
  let isBusy = true;
  const clock = new VirtualClock();
  const { request: answer } = scripted(() =>
    isBusy
      ? { status: 429, headers: { "retry-after": "3600" }, body: status(429, "TooManyRequests") }
      : { status: 404, body: status(404, "NotFound") }
  );
  await using provider = kubernetesProvider({ url: "k8s:///jobs", request: answer, clock });
  await assert.rejects(provider.read("g", soon()));
  isBusy = false;
  const next = provider.read("g", soon());
  await clock.advance(10_100);
  assert.equal(await next, null);
});

/** A client whose token is in a file, to a server that knows some tokens. */
async function withToken(name: string, known: readonly string[]) {
  const path = join(directory, name);
  const clock = new VirtualClock();
  const { request: answer, asked } = scripted(({ authorization }) =>
    known.some((token) => authorization === `Bearer ${token}`)
      ? { status: 200, body: "{}" }
      : { status: 401, body: status(401, "Unauthorized") }
  );
  const client = new ApiClient({ request: answer, token: new TokenFile(path, clock), clock, close() {} });
  await writeFile(path, "first\n");
  const call = () => client.call({ verb: "get", path: "/x", ...soon() });
  return { path, clock, asked, call };
}

test("the token is read again each minute", async () => {
  const { path, clock, asked, call } = await withToken("minute", ["first", "second"]);
  await call();
  await writeFile(path, "second\n");
  await clock.advance(59_000);
  await call();
  await clock.advance(2_000);
  await call();
  assert.deepEqual(asked, ["GET /x Bearer first", "GET /x Bearer first", "GET /x Bearer second"]);
});

test("a token that cannot be read again is good until it is refused", async () => {
  const known = ["first"];
  const { path, clock, asked, call } = await withToken("gone", known);
  await call();
  await rm(path);
  await clock.advance(61_000);
  await call();
  assert.deepEqual(asked, ["GET /x Bearer first", "GET /x Bearer first"]);
  known[0] = "second";
  await assert.rejects(call(), /setting "token": ENOENT/);
});

test("a request that is refused for its token is sent once more, if there is another one", async () => {
  const { path, asked, call } = await withToken("refused", ["second"]);
  await assert.rejects(call(), /401 Unauthorized.*does not know the token/);
  assert.deepEqual(asked, ["GET /x Bearer first"], "the same one would be refused again");
  await writeFile(path, "second\n");
  await call();
  assert.deepEqual(asked.slice(1), ["GET /x Bearer first", "GET /x Bearer second"]);
});

test("a token file that cannot be used is an error, which shows neither token nor path", async () => {
  const { path, call } = await withToken("hush-hush", []);
  for (const text of ["", "two\nhush-hush", "h\u00fcsh-hush"]) {
    await writeFile(path, text);
    await assert.rejects(call(), (error) => {
      assert.ok(error instanceof Error && /file of setting "token": it holds no token/.test(error.message));
      assert.ok(!/hush/.test(error.message));
      return true;
    });
  }
  await rm(path);
  await assert.rejects(call(), /^Error: cannot read the file of setting "token": ENOENT$/);
});

test("a token that is given in place of its file is not shown", async () => {
  await using provider = kubernetesProvider({ url: "k8s://127.0.0.1:1/a?token=hush-hush" });
  await assert.rejects(provider.read("g", soon()), (error) => {
    assert.ok(error instanceof ProviderError && /setting "token"/.test(error.message));
    assert.ok(!/hush/.test(`${error.message} ${error.stack} ${error.cause}`));
    return true;
  });
});

const server = backend("kubernetes");
if (server !== null) {
  const { url } = server;
  const opened = new Opened(url);
  after(() => opened[Symbol.asyncDispose]());

  test("a real server refuses a token that it does not know, until the file has another", async () => {
    const [, known = ""] = /token=([^&]+)/.exec(url) ?? [];
    const path = join(directory, "real");
    await writeFile(path, "unknown");
    const provider = opened.open({ url: url.replace(known, path) });
    await assert.rejects(provider.read("g", soon()), (error) => {
      return error instanceof ProviderError && error.permanent && /401 Unauthorized/.test(error.message);
    });
    await copyFile(known, path);
    const lease = await win(provider, request(newGroup()));
    assert.equal(await provider.release(lease, soon()), "released");
  });

  test("a provider that is closed ends what is under way, and sends nothing more", async () => {
    const post = opened.post();
    const provider = opened.open({ request: post.request });
    const held = post.hold("GET ");
    const call = provider.read(newGroup(), soon());
    await held.arrived;
    await provider[Symbol.asyncDispose]();
    await assert.rejects(call, /the provider is closed/);
    held.letGo();
    const { length } = post.sent;
    await assert.rejects(provider.acquire(request(newGroup()), soon()), /the provider is closed/);
    await sleep(systemClock, 50);
    assert.equal(post.sent.length, length);
  });
}
