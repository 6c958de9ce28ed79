import assert from "node:assert/strict";
import { DeadlineGuard } from "../../cli/guard/guard_process.ts";
import { VirtualClock } from "../../testing/virtual_clock.ts";

const GROUP = 4711;

/** A guard on a clock that the test moves, and all it said and did. */
function guardOnClock() {
  const clock = new VirtualClock();
  const sent: string[] = [];
  const killed: number[] = [];
  const guard = new DeadlineGuard(clock, {
    send: (line) => sent.push(line),
    kill: (group) => Promise.resolve(void killed.push(group)),
  });
  return { clock, sent, killed, guard };
}

Deno.test("DeadlineGuard.take() says guarded after the first answer, and not before", () => {
  const { guard, sent } = guardOnClock();
  guard.take(`guard ${GROUP} 100`);
  assert.deepEqual(sent, ["ask 1"]);
  guard.take("answer 1 500");
  assert.deepEqual(sent, ["ask 1", "guarded"]);
});

Deno.test("DeadlineGuard.take() counts an answer from its question, when the answer is late", async () => {
  const { clock, guard, killed } = guardOnClock();
  guard.take(`guard ${GROUP} 100`);
  await clock.advance(300);
  guard.take("answer 1 500");
  await clock.advance(199);
  assert.deepEqual(killed, []);
  await clock.advance(1);
  assert.deepEqual(killed, [GROUP]);
});

Deno.test("DeadlineGuard.take() kills at the deadline, when elect is frozen and answers no more", async () => {
  const { clock, guard, killed, sent } = guardOnClock();
  guard.take(`guard ${GROUP} 100`);
  guard.take("answer 1 1000");
  await clock.advance(100);
  assert.equal(sent.at(-1), "ask 2");
  guard.take("answer 2 1000");
  await clock.advance(999);
  assert.deepEqual(killed, []);
  await clock.advance(1);
  assert.deepEqual(killed, [GROUP]);
  guard.take("answer 3 1000");
  guard.take("stand-down");
  assert.equal(sent.at(-1), "stood-down killed");
});

Deno.test("DeadlineGuard.take() goes on for as long as it is answered, and stands down when told", async () => {
  const { clock, guard, killed, sent } = guardOnClock();
  guard.take(`guard ${GROUP} 100`);
  for (let question = 1; question <= 50; question++) {
    guard.take(`answer ${question} 150`);
    await clock.advance(100);
  }
  guard.take("stand-down");
  assert.equal(sent.at(-1), "stood-down idle");
  await clock.advance(10_000);
  assert.deepEqual(killed, []);
  assert.equal(clock.pending, 0);
});

Deno.test("DeadlineGuard.take() shortens the deadline, when an answer is less than the last", async () => {
  const { clock, guard, killed } = guardOnClock();
  guard.take(`guard ${GROUP} 100`);
  guard.take("answer 1 10000");
  await clock.advance(100);
  guard.take("answer 2 50");
  await clock.advance(50);
  assert.deepEqual(killed, [GROUP]);
});

Deno.test("DeadlineGuard.take() drops the answer to another question", async () => {
  const { clock, guard, killed } = guardOnClock();
  guard.take(`guard ${GROUP} 100`);
  guard.take("answer 1 500");
  await clock.advance(100);
  guard.take("answer 1 10000");
  await clock.advance(400);
  assert.deepEqual(killed, [GROUP]);
});

Deno.test("DeadlineGuard.take() kills when it wakes, after the machine was suspended beyond the deadline", async () => {
  const { clock, guard, killed } = guardOnClock();
  guard.take(`guard ${GROUP} 100`);
  guard.take("answer 1 5000");
  clock.jump(6_000);
  await clock.advance(0);
  assert.deepEqual(killed, [GROUP]);
});

Deno.test("DeadlineGuard.abandoned() kills what it watches, once", () => {
  const { guard, killed } = guardOnClock();
  guard.abandoned();
  assert.deepEqual(killed, []);
  guard.take(`guard ${GROUP} 100`);
  guard.abandoned();
  guard.abandoned();
  assert.deepEqual(killed, [GROUP]);
});

Deno.test("DeadlineGuard.take() never watches group 0 or 1, which would be itself or everything", () => {
  const { guard, killed, sent } = guardOnClock();
  for (const group of ["0", "1", "-1", "x", ""]) guard.take(`guard ${group} 100`);
  guard.abandoned();
  assert.deepEqual(killed, []);
  assert.deepEqual(sent, []);
});

Deno.test("DeadlineGuard.abandoned() resolves when nothing of what was killed is alive, and not before", async () => {
  let dead: () => void = () => {};
  const guard = new DeadlineGuard(new VirtualClock(), {
    send: () => {},
    kill: () => new Promise<void>((resolve) => dead = resolve),
  });
  guard.take(`guard ${GROUP} 100`);
  let resolved = false;
  const over = guard.abandoned().then(() => resolved = true);
  for (let turn = 0; turn < 10; turn++) await Promise.resolve();
  assert.equal(resolved, false);
  dead();
  await over;
});
