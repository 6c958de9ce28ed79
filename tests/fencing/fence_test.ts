/** What a fence admits and refuses, in memory and before an HTTP handler. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  type Admission,
  FencedError,
  fencedHandler,
  memoryFence,
  postgresFence,
  redisFence,
} from "../../fencing/mod.ts";
import { sqliteFence } from "../../fencing/mod.ts";
import { ElectionError } from "../../src/errors.ts";

test("memoryFence() refuses a token that is lower than the highest, and says which that was", async () => {
  const fence = memoryFence();
  await fence.admit("a", 0n);
  await fence.admit("a", 2n ** 53n + 1n);
  await fence.admit("a", 2n ** 53n + 1n);
  await fence.admit("b", 1n);
  await assert.rejects(fence.admit("a", 2n ** 53n), (error) => {
    assert.ok(error instanceof FencedError && error instanceof ElectionError);
    assert.deepEqual([error.name, error.resource, error.token, error.highest], [
      ...["FencedError", "a", 2n ** 53n, 2n ** 53n + 1n],
    ]);
    assert.match(error.message, /^Cannot write to "a" under token 9007199254740992: token 9007199254740993 has been/);
    return true;
  });
});

test("a fence refuses what is malformed before it asks its store", async () => {
  const neverAsked = { eval: () => assert.fail("it was asked"), query: () => assert.fail("it was asked") };
  for (const fence of [memoryFence(), redisFence(neverAsked), postgresFence(neverAsked)]) {
    for (const token of [7 as unknown as bigint, "7" as unknown as bigint, undefined as unknown as bigint]) {
      await assert.rejects(fence.admit("a", token), /must be a bigint/);
    }
    await assert.rejects(fence.admit("a", -1n), RangeError);
    await assert.rejects(fence.admit("a", 2n ** 63n), RangeError);
    for (const resource of ["", " a", "a ", "\u00e9", "a\n", "x".repeat(256), 7 as unknown as string]) {
      await assert.rejects(fence.admit(resource, 1n), /printable ASCII/, resource);
    }
    await assert.rejects(fence.admit("a", 1n, { signal: AbortSignal.abort(new Error("enough")) }), /enough/);
  }
});

test("options of fences that do not exist, or could not be SQL, are refused", () => {
  const client = { query: () => assert.fail("it was asked") };
  assert.throws(() => postgresFence(client, { tabel: "a" } as never), /"tabel"/);
  assert.throws(() => postgresFence(client, { table: "a; DROP TABLE b" }), /must match/);
  assert.throws(() => postgresFence(client, { schema: "" }), /must match/);
  assert.throws(() => postgresFence(client, { inTransaction: "no" as never }), /true or false/);
  assert.throws(() => sqliteFence({ prepare: () => assert.fail() }, { schema: "a" } as never), /schema/);
  assert.throws(() => redisFence({ eval: () => assert.fail() }, { prefx: "a" } as never), /prefx/);
  // A pool gives each statement a transaction of its own.
  assert.throws(() => postgresFence(Object.assign(client, { totalCount: 1 })), /Cannot fence with a pool/);
});

test("a SQL fence refuses a client that shows that it is in no transaction", async () => {
  const client = { query: () => assert.fail("it was asked"), getTransactionStatus: () => "I" };
  await assert.rejects(postgresFence(client).admit("a", 1n), /the client is in no transaction/);
  for (const state of [{ isTransaction: false }, { inTransaction: false }]) {
    const fence = sqliteFence({ prepare: () => assert.fail("it was asked"), ...state });
    await assert.rejects(fence.admit("a", 1n), /the client is in no transaction/);
    assert.throws(() => fence.admitSync("a", 1n), /the client is in no transaction/);
  }
  const own = postgresFence({ ...client, query: () => Promise.resolve({ rows: [{ highest: "1" }] }) }, {
    inTransaction: false,
  });
  await own.admit("a", 1n);
});

test("a fence whose row holds no token refuses everything", async () => {
  for (const rows of [[], [{ highest: "" }], [{ highest: null }], [{ highest: "-1" }], [{ highest: 9 }]]) {
    const fence = postgresFence({ query: () => Promise.resolve({ rows }) });
    await assert.rejects(fence.admit("a", 1n), /which is no token/);
  }
});

const ask = (token?: string, path = "/") =>
  new Request(`http://h${path}`, {
    method: "PUT",
    ...(token !== undefined && { headers: { "Fencing-Token": token } }),
  });

test("fencedHandler() answers 428 without a token, 400 to a malformed one, 412 to one that is too low", async () => {
  let handled = 0;
  const handler = fencedHandler(memoryFence(), (_request, { token }) => {
    handled++;
    return new Response(String(token));
  });
  const answer = async (token?: string) => {
    const response = await handler(ask(token));
    const type = response.headers.get("content-type");
    const body = await response.text();
    return { status: response.status, type, body };
  };
  assert.equal((await answer()).status, 428);
  for (const malformed of ["", "-1", "1.0", "0x10", "9e3", "9223372036854775808", "1 2", "1,2"]) {
    const { status, type, body } = await answer(malformed);
    assert.equal(status, 400, malformed);
    assert.equal(type, "application/problem+json");
    assert.equal(JSON.parse(body).status, 400);
  }
  assert.equal(handled, 0);
  assert.equal((await answer("9223372036854775807")).body, "9223372036854775807");
  const { status, type, body } = await answer("9223372036854775806");
  assert.deepEqual([status, type], [412, "application/problem+json"]);
  const { title, detail, ...problem } = JSON.parse(body);
  assert.ok(title === "Precondition Failed" && detail.length > 0);
  assert.deepEqual(problem, {
    ...{ status: 412, resource: "http", token: "9223372036854775806", highest: "9223372036854775807" },
  });
  assert.equal(handled, 1);
});

test("fencedHandler() keeps resources apart where it is told to, and is one resource where it is not", async () => {
  const one = fencedHandler(memoryFence(), () => new Response());
  await one(ask("7", "/a"));
  assert.equal((await one(ask("6", "/b"))).status, 412);
  const many = fencedHandler(memoryFence(), () => new Response(), {
    resource: ({ url }) => new URL(url).pathname,
  });
  await many(ask("7", "/a"));
  assert.equal((await many(ask("6", "/b"))).status, 200);
  assert.equal((await many(ask("6", "/a"))).status, 412);
});

test("fencedHandler() lets a handler end before it admits a higher token, and refuses the lower ones after", async () => {
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  const handler = fencedHandler(memoryFence(), async (request, { token }: Admission) => {
    const name = `${token}${new URL(request.url).pathname}`;
    begun.push(name);
    await new Promise<void>((resolve) => ends.set(name, resolve));
    return new Response(name);
  });
  const settle = () => new Promise((resolve) => setTimeout(resolve, 5));
  const [five, again] = [handler(ask("5", "/a")), handler(ask("5", "/b"))];
  await settle();
  // A higher one waits for both; a lower one and one more of the same wait behind it.
  const [six, four, late] = [handler(ask("6", "/a")), handler(ask("4", "/a")), handler(ask("5", "/c"))];
  await settle();
  assert.deepEqual(begun, ["5/a", "5/b"]);
  ends.get("5/a")?.();
  await settle();
  assert.deepEqual(begun, ["5/a", "5/b"]);
  ends.get("5/b")?.();
  await settle();
  assert.deepEqual(begun, ["5/a", "5/b", "6/a"]);
  ends.get("6/a")?.();
  const statuses = (await Promise.all([five, again, six, four, late])).map(({ status }) => status);
  assert.deepEqual(statuses, [200, 200, 200, 412, 412]);
});

test("fencedHandler() goes on after a handler that throws, and after a client that gave up waiting", async () => {
  const gate = Promise.withResolvers<void>();
  const handler = fencedHandler(memoryFence(), async (_request, { token }) => {
    if (token === 1n) await gate.promise;
    if (token === 3n) throw new Error("the handler failed");
    return new Response();
  });
  const first = handler(ask("1"));
  const controller = new AbortController();
  const second = handler(new Request("http://h/", { headers: { "Fencing-Token": "2" }, signal: controller.signal }));
  second.catch(() => {});
  await new Promise((resolve) => setTimeout(resolve, 5));
  controller.abort(new Error("gone"));
  await assert.rejects(second, /gone/);
  gate.resolve();
  assert.equal((await first).status, 200);
  await assert.rejects(handler(ask("3")), /the handler failed/);
  assert.equal((await handler(ask("4"))).status, 200);
  // What fails in the fence is not hidden behind an answer.
  const broken = fencedHandler({ admit: () => Promise.reject(new Error("the fence is down")) }, () => assert.fail());
  await assert.rejects(broken(ask("1")), /the fence is down/);
});
