/** What every provider does around a call to its driver. */

import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { abortable, callBackend, parseMetadata, permanently, providerError } from "../src/call.ts";
import { ProviderError } from "../src/errors.ts";
import { nobodyListens } from "./leaks.ts";

function call<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  return callBackend("redis", "renew", "g", signal, work);
}

test("callBackend() rejects with the reason, when the driver never answers", async () => {
  const controller = new AbortController();
  const answer = call(controller.signal, () => new Promise<never>(() => {}));
  const reason = new Error("enough");
  controller.abort(reason);
  await assert.rejects(answer, (error) => error === reason);
});

test("callBackend() calls nothing, when its signal has aborted before", async () => {
  const reason = new Error("enough");
  let calls = 0;
  const answer = call(AbortSignal.abort(reason), () => Promise.resolve(calls++));
  await assert.rejects(answer, (error) => error === reason);
  assert.equal(calls, 0);
});

test("callBackend() rejects with the reason, when the driver throws because of the abort", async () => {
  const controller = new AbortController();
  const reason = new Error("enough");
  const answer = call(controller.signal, () => {
    controller.abort(reason);
    throw new Error("The operation was aborted");
  });
  await assert.rejects(answer, (error) => error === reason);
});

test("callBackend() passes on an error that is a ProviderError already", async () => {
  const mine = new ProviderError("redis", "renew", "Cannot renew: it is mine");
  await assert.rejects(call(new AbortController().signal, () => Promise.reject(mine)), (error) => error === mine);
  assert.equal(providerError("redis", "renew", "g", mine), mine);
});

test("callBackend() leaves nothing on its signal, when the driver answers or fails", async () => {
  const { signal } = new AbortController();
  assert.equal(await call(signal, () => Promise.resolve(1)), 1);
  await call(signal, () => Promise.reject(new Error("no"))).catch(() => {});
  // What tidies up runs in turns of its own.
  await new Promise((resolve) => setTimeout(resolve));
  nobodyListens(signal);
});

test("abortable() raises no unhandled rejection, when what was given up before fails", async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => void unhandled.push(reason);
  process.on("unhandledRejection", note);
  try {
    await abortable(Promise.reject(new Error("late")), AbortSignal.abort()).catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 10));
    assert.deepEqual(unhandled, []);
  } finally {
    process.off("unhandledRejection", note);
  }
});

test("parseMetadata() takes no list for an object", () => {
  assert.deepEqual(parseMetadata('["a", "b"]'), {});
});

test("providerError() is permanent, when TLS or the runtime does not trust, or a cause says so", () => {
  const coded = (code: string) => Object.assign(new Error("no"), { code });
  const named = Object.assign(new Error("Requires net access"), { name: "NotCapable" });
  for (
    const cause of [
      coded("SELF_SIGNED_CERT_IN_CHAIN"),
      named,
      new Error("outer", { cause: new Error("middle", { cause: permanently(new Error("inner")) }) }),
      new Error("invalid peer certificate: UnknownIssuer"),
      ...["ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED", "ERR_SSL_SSL/TLS_ALERT_HANDSHAKE_FAILURE"].map(coded),
      ...["ERR_SSL_WRONG_VERSION_NUMBER", "HOSTNAME_MISMATCH", "UNABLE_TO_GET_ISSUER_CERT", "CERT_UNTRUSTED"].map(
        coded,
      ),
      new Error('Requires net access to "127.0.0.1:1", run again with the --allow-net flag'),
      new Error("write EPROTO 407D:error:0A000412:SSL routines:ssl3_read_bytes:ssl/tls alert bad certificate:rec.c:9"),
      Object.assign(new Error("of a driver"), { originalError: coded("DEPTH_ZERO_SELF_SIGNED_CERT") }),
      new Error("none of two", { cause: new AggregateError([named, coded("CERT_HAS_EXPIRED")]) }),
    ]
  ) {
    assert.equal(providerError("p", "acquire", "g", cause).permanent, true, cause.message);
  }
  const oneIsDown = new AggregateError([coded("CERT_HAS_EXPIRED"), coded("ECONNREFUSED")]);
  const circle = new Error("its own cause");
  circle.cause = circle;
  const alert = coded("ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR");
  const others = [oneIsDown, new AggregateError([]), circle, alert, coded("ECONNREFUSED"), coded("ETIMEDOUT")];
  for (const cause of [...others, new Error("reset"), "text", null]) {
    assert.equal(providerError("p", "acquire", "g", cause).permanent, false);
  }
});

test("an error that stands for several is for good only if each is, whatever words its text repeats", () => {
  const refused = new Error("write EPROTO: error:0A000412:SSL routines:ssl3_read_bytes:ssl/tls alert bad certificate");
  const down = new Error("connect ECONNREFUSED 127.0.0.1:1");
  const tried = (...errors: Error[]) =>
    new Error(`no server could be reached: ${errors.map(({ message }) => message).join("; ")}`, {
      cause: new AggregateError(errors),
    });
  assert.equal(providerError("p", "acquire", "g", tried(refused, down)).permanent, false);
  assert.equal(providerError("p", "acquire", "g", tried(refused, refused)).permanent, true);
  assert.equal(providerError("p", "acquire", "g", new AggregateError([refused, down])).permanent, false);
});
