/** Durations, redaction, back-off and what a provider's call does with errors. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { backoff } from "../src/time/backoff.ts";
import { abortable, callBackend, parseMetadata } from "../src/call.ts";
import { parseDuration } from "../src/time/duration.ts";
import { ProviderError } from "../src/errors.ts";
import { redact } from "../src/redact.ts";

test("parseDuration() reads numbers and units", () => {
  const cases = [[250, 250], ["250ms", 250], ["5s", 5_000], ["1.5m", 90_000], ["1h", 3_600_000], ["0ms", 0]] as const;
  for (const [duration, ms] of cases) assert.equal(parseDuration(duration), ms);
  assert.equal(parseDuration(0.4), 0);
});

test("parseDuration() refuses what is none, with the value", () => {
  for (const text of ["", "5", "5 s", "s", "-5s", "5d", "5s\n", "1e3ms", "Infinitys"]) {
    assert.throws(() => parseDuration(text as "5s", "heartbeatTimeout"), TypeError, JSON.stringify(text));
  }
  for (const ms of [-1, NaN, Infinity, 2 ** 31]) assert.throws(() => parseDuration(ms), RangeError);
  assert.throws(() => parseDuration("1x" as "1s", "cooldown"), /Cannot use cooldown "1x"/);
});

test("redact() hides every form of credential, and nothing else", () => {
  const cases = [
    ["redis://user:hunter2@host:6379/0", "redis://user:***@host:6379/0"],
    ["redis://:hunter2@host", "redis://:***@host"],
    ["postgres://u:p@ss:hunter2@host/db?sslmode=require", "postgres://u:***@host/db?sslmode=require"],
    ["redis://u:hun/t?e#r@2@host:6379/0", "redis://u:***@host:6379/0"],
    ["consul://host:8500?token=hun@ter2", "consul://host:8500?token=***"],
    ["Server=db;User Id=sa;Password=hunter2;Encrypt=true", "Server=db;User Id=sa;Password=***;Encrypt=true"],
    ["AccountName=a;AccountKey=hunter2==;X=y", "AccountName=a;AccountKey=***;X=y"],
    ["https://a.blob.core.windows.net/c?sv=1&sig=hunter2&se=2", "https://a.blob.core.windows.net/c?sv=1&sig=***&se=2"],
    ["consul://host:8500?token=hunter2", "consul://host:8500?token=***"],
    ["Server=db; Password = two hunter2 words ; Encrypt=true", "Server=db; Password = ***; Encrypt=true"],
    ["consul://host:8500?token=x;hunter2&dc=east", "consul://host:8500?token=***&dc=east"],
    ["file:///a%20b", "file:///a%20b"],
    ["zookeeper://a:2181,b:2181/root", "zookeeper://a:2181,b:2181/root"],
    ["etcd://user:secret@a:2379,b:2379/p", "etcd://user:***@a:2379,b:2379/p"],
  ];
  for (const [target, safe] of cases) assert.equal(redact(target ?? ""), safe);
});

test("backoff() doubles its bound up to the largest, with jitter", () => {
  const options = { retryBaseDelay: 100, retryMaxDelay: 5_000 };
  const bounds = [0, 1, 2, 10, 5_000].map((failures) => Math.round(backoff(failures, { ...options, random: () => 1 })));
  assert.deepEqual(bounds, [100, 200, 400, 5_000, 5_000]);
  assert.equal(backoff(0, { ...options, random: () => 0 }), 10);
});

test("callBackend() wraps what the driver throws, without credentials", async () => {
  const failed = callBackend("redis", "renew", "g", new AbortController().signal, () => {
    throw new Error("cannot reach redis://u:hunter2@host");
  });
  await assert.rejects(failed, (error: Error) => {
    assert.ok(error instanceof ProviderError && error.operation === "renew");
    assert.equal(error.message, 'Cannot renew the lease in redis "g": cannot reach redis://u:***@host');
    return true;
  });
});

test("callBackend() rejects with a ProviderError, whatever was thrown", async () => {
  const odd = [undefined, null, 0, Symbol("odd"), Object.create(null), { toString: () => assert.fail() }];
  for (const thrown of odd) {
    const call = (work: () => Promise<void>) => callBackend("x", "read", "g", new AbortController().signal, work);
    const expected = { name: "ProviderError", message: /^Cannot read the leader from x "g": / };
    await assert.rejects(call(() => Promise.reject(thrown)), expected);
    await assert.rejects(
      call(() => {
        throw thrown;
      }),
      expected,
    );
  }
});

test("abortable() does not wait for what ignores its signal, nor leave a rejection unhandled", async () => {
  const controller = new AbortController();
  const late = Promise.withResolvers<void>();
  const waiting = abortable(late.promise, controller.signal);
  controller.abort(new Error("enough"));
  await assert.rejects(waiting, /enough/);
  late.reject(new Error("late"));
  await assert.rejects(abortable(Promise.reject(new Error("late")), controller.signal), /enough/);
});

test("parseMetadata() takes an object of strings, and nothing from garbage", () => {
  assert.deepEqual(parseMetadata('{"a":"b","c":1,"d":null}'), { a: "b" });
  for (const json of ["", null, undefined, "{", "[]", "null", "1", '"x"']) assert.deepEqual(parseMetadata(json), {});
});
