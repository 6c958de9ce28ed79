import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Running, temporary } from "./cli/elect.ts";

function example(name: string, ...args: string[]): Running {
  return new Running(
    ["run", "--allow-all", fileURLToPath(new URL(`../examples/${name}`, import.meta.url)), ...args],
    {},
  );
}

Deno.test("examples/basic.ts hands leadership from one process to the next", async () => {
  await using place = await temporary();
  await using first = example("basic.ts", place.url);
  await first.said(/leads under token 1/);
  await using second = example("basic.ts", place.url);
  await second.said(/takes part/);
  first.kill("SIGTERM");
  const { code, stdout } = await first.finished();
  assert.equal(code, 0);
  assert.match(stdout, /put down its work\n.* leaves\n$/);
  await second.said(/leads under token 2/);
  second.kill("SIGTERM");
  assert.equal((await second.finished()).code, 0);
});

Deno.test("examples/contenders.ts lets every contender lead once, under growing tokens", async () => {
  await using running = example("contenders.ts");
  const { code, stdout, stderr } = await running.finished();
  assert.equal(code, 0, stderr);
  assert.match(stdout, /everyone has led once, under tokens 1, 2, 3\n$/);
});
