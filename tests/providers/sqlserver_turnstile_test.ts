/** Which call of the SQL Server provider gets a connection next. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Turnstile } from "../../providers/sqlserver/turnstile.ts";

const never = new AbortController().signal;
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** Lets `count` calls ask, and returns the names of those that were let in, in their order, and what ends each. */
function entering(turnstile: Turnstile) {
  const entered: string[] = [];
  const leave: Record<string, () => void> = {};
  return {
    entered,
    leave,
    async ask(name: string, urgent: boolean, signal = never): Promise<void> {
      leave[name] = await turnstile.enter(urgent, signal);
      entered.push(name);
    },
  };
}

test("Turnstile lets no more calls in than there are connections, and one that has the next made", async () => {
  const turnstile = new Turnstile(3, 0);
  const { entered, leave, ask } = entering(turnstile);
  for (const name of ["a", "b", "c", "d"]) void ask(name, true);
  await settle();
  assert.deepEqual(entered, ["a"], "the first connection is being made");
  turnstile.count(1);
  await settle();
  assert.deepEqual(entered, ["a", "b"], "the next one is");
  turnstile.count(1);
  turnstile.count(1);
  await settle();
  assert.deepEqual(entered, ["a", "b", "c"], "no more than the pool may have");
  turnstile.count(-1);
  leave["a"]?.();
  await settle();
  assert.deepEqual(entered, ["a", "b", "c", "d"]);
});

test("Turnstile lets heartbeats go first, and leaves them a connection", async () => {
  const turnstile = new Turnstile(3, 3);
  const { entered, leave, ask } = entering(turnstile);
  for (const name of ["look 1", "look 2", "look 3", "look 4"]) void ask(name, false);
  await settle();
  assert.deepEqual(entered, ["look 1", "look 2"]);
  for (const name of ["beat 1", "beat 2"]) void ask(name, true);
  await settle();
  assert.deepEqual(entered.slice(2), ["beat 1"]);
  leave["look 1"]?.();
  await settle();
  assert.deepEqual(entered.slice(3), ["beat 2"], "before the looks that came earlier");
  leave["beat 1"]?.();
  await settle();
  assert.deepEqual(entered.slice(4), ["look 3"]);
  leave["beat 2"]?.();
  await settle();
  assert.deepEqual(entered.slice(5), [], "the last connection is not for looks");
});

test("Turnstile lets looks in, when there is but one connection", async () => {
  const { entered, ask } = entering(new Turnstile(1, 1));
  void ask("look", false);
  await settle();
  assert.deepEqual(entered, ["look"]);
});

test("Turnstile forgets a call that was given up, and turns all away when it is closed", async () => {
  const turnstile = new Turnstile(1, 1);
  const { entered, leave, ask } = entering(turnstile);
  await ask("a", true);
  const [first, second] = [new AbortController(), new AbortController()];
  const [given, kept] = [ask("b", true, first.signal), ask("c", true, second.signal)];
  const third = new AbortController();
  const refused = assert.rejects(ask("d", false, third.signal), /closed/);
  const rejected = assert.rejects(given, /enough/);
  first.abort(new Error("enough"));
  await rejected;
  await assert.rejects(turnstile.enter(true, AbortSignal.abort(new Error("before"))), /before/);
  leave["a"]?.();
  await kept;
  assert.deepEqual(entered, ["a", "c"]);
  second.abort(new Error("after it was let in"));
  turnstile.close(new Error("closed"));
  await refused;
  const last = ask("e", true);
  third.abort(new Error("after it was turned away"));
  leave["c"]?.();
  await last;
});
