import assert from "node:assert/strict";
import { test } from "node:test";
import { JoinedRenewals, whenAllAbort } from "../../../providers/kit/joined_renewals.ts";
import type { RenewOptions } from "../../../src/provider.ts";

/** A backend whose calls end when the test says so. */
class Backend {
  readonly calls: {
    metadata: RenewOptions["metadata"];
    signal: AbortSignal;
    answer: PromiseWithResolvers<"renewed">;
  }[] = [];
  readonly renew = ({ signal, metadata }: RenewOptions): Promise<"renewed"> => {
    const answer = Promise.withResolvers<"renewed">();
    this.calls.push({ metadata, signal, answer });
    return answer.promise;
  };
  answer(call: number): void {
    this.calls[call]?.answer.resolve("renewed");
  }
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));
const { signal } = new AbortController();

test("JoinedRenewals sends one call for all that wait behind another, with the metadata of the last", async () => {
  const [joined, backend] = [new JoinedRenewals(), new Backend()];
  const all = [{}, { metadata: { n: "1" } }, { metadata: { n: "2" } }, {}].map((options) =>
    joined.run("term", { signal, ...options }, backend.renew)
  );
  assert.equal(backend.calls.length, 1, "the first goes out at once");
  backend.answer(0);
  assert.equal(await all[0], "renewed");
  await turn();
  assert.deepEqual(backend.calls.map(({ metadata }) => metadata), [undefined, { n: "2" }]);
  backend.answer(1);
  assert.deepEqual(await Promise.all(all), ["renewed", "renewed", "renewed", "renewed"]);
});

test("JoinedRenewals lets nobody join a call that was sent before it asked", async () => {
  const [joined, backend] = [new JoinedRenewals(), new Backend()];
  const first = joined.run("term", { signal }, backend.renew);
  const second = joined.run("term", { signal }, backend.renew);
  backend.answer(0);
  await first;
  await turn();
  const third = joined.run("term", { signal }, backend.renew);
  let isDone = false;
  third.finally(() => isDone = true);
  backend.answer(1);
  await second;
  await turn();
  assert.equal(backend.calls.length, 3);
  assert.equal(isDone, false);
  backend.answer(2);
  await third;
});

test("JoinedRenewals leaves out who gave up before its call, and its metadata, and sends none if all have", async () => {
  const [joined, backend, gone] = [new JoinedRenewals(), new Backend(), new AbortController()];
  const first = joined.run("term", { signal }, backend.renew);
  const given = joined.run("term", { signal: gone.signal, metadata: { n: "gone" } }, backend.renew);
  const stays = joined.run("term", { signal }, backend.renew);
  gone.abort(new Error("too slow"));
  await assert.rejects(given, /too slow/);
  backend.answer(0);
  await first;
  await turn();
  assert.deepEqual(backend.calls.map(({ metadata }) => metadata), [undefined, undefined]);
  const lastGone = new AbortController();
  const none = joined.run("term", { signal: lastGone.signal }, backend.renew);
  lastGone.abort(new Error("too slow"));
  await assert.rejects(none, /too slow/);
  backend.answer(1);
  await stays;
  await turn();
  assert.equal(backend.calls.length, 2);
  const again = joined.run("term", { signal }, backend.renew);
  assert.equal(backend.calls.length, 3, "it is idle, and sends at once");
  backend.answer(2);
  await again;
});

test("JoinedRenewals goes on after a failure, and aborts a shared call only when all have given up", async () => {
  const [joined, backend] = [new JoinedRenewals(), new Backend()];
  const [one, two] = [new AbortController(), new AbortController()];
  const first = joined.run("term", { signal }, backend.renew);
  const other = joined.run("another", { signal }, backend.renew);
  const shared = [one, two].map(({ signal }) => joined.run("term", { signal }, backend.renew));
  assert.equal(backend.calls.length, 2, "another term does not wait");
  backend.calls[0]?.answer.reject(new Error("unreachable"));
  await assert.rejects(first, /unreachable/);
  await turn();
  one.abort(new Error("one"));
  assert.equal(backend.calls[2]?.signal.aborted, false);
  two.abort(new Error("two"));
  assert.equal(backend.calls[2]?.signal.aborted, true);
  await assert.rejects(shared[0] ?? Promise.resolve(), /one/);
  await assert.rejects(shared[1] ?? Promise.resolve(), /two/);
  backend.answer(1);
  await other;
});

test("JoinedRenewals does not wait for a call that hangs", async () => {
  const [joined, backend] = [new JoinedRenewals(), new Backend()];
  const hangs = joined.run("term", { signal }, backend.renew);
  const next = joined.run("term", { signal }, backend.renew);
  while (backend.calls.length < 2) await turn();
  backend.answer(1);
  assert.equal(await next, "renewed");
  backend.answer(0);
  await hangs;
  const again = joined.run("term", { signal }, backend.renew);
  assert.equal(backend.calls.length, 3, "it is idle, and sends at once");
  backend.answer(2);
  await again;
});

test("whenAllAbort() counts those that have aborted before, and listens no longer than asked", () => {
  const controllers = [new AbortController(), new AbortController()];
  controllers[0]?.abort();
  const both = whenAllAbort(controllers.map(({ signal }) => signal));
  assert.equal(both.signal.aborted, false);
  controllers[1]?.abort();
  assert.equal(both.signal.aborted, true);
  const later = [new AbortController(), new AbortController()];
  const forgotten = whenAllAbort(later.map(({ signal }) => signal));
  forgotten.forget();
  later.forEach((each) => each.abort());
  assert.equal(forgotten.signal.aborted, false);
});
