/**
 * A checkout in which nothing was installed, on Bun, on Node, and on the oldest Node that is promised: examples,
 * command line and conformance suite run from source.
 */

import assert from "node:assert/strict";
import { ROOT } from "../runner/command.ts";
import { GUESTS, testOn } from "../runner/test_on.ts";
import { succeed } from "./elects.ts";
import { type EmptyFolder, emptyFolder, serve } from "./published.ts";

const SOURCE = ["mod.ts", "cli.ts", "package.json", "deno.json", "src", "providers", "cli", "testing", "examples"];

/** Copies what is published, and no driver. */
async function checkout(): Promise<EmptyFolder> {
  const folder = await emptyFolder();
  for (const name of [...SOURCE, "tests/getting_in/conformance.ts"]) await copy(new URL(name, ROOT), folder.path, name);
  return folder;
}

async function copy(from: URL, root: string, name: string): Promise<void> {
  const to = `${root}/${name}`;
  if ((await Deno.stat(from)).isFile) {
    await Deno.mkdir(to.replace(/\/[^/]*$/, ""), { recursive: true });
    return await Deno.copyFile(from, to);
  }
  for await (const { name: child } of Deno.readDir(from)) {
    await copy(new URL(`${from.href}/${child}`), root, `${name}/${child}`);
  }
}

for (const guest of GUESTS) {
  testOn(guest, "examples run from a checkout, and no registry is asked for the package", async (program) => {
    await using folder = await checkout();
    await using registry = serve(() => null);
    // Bun installs what it misses by itself, as it runs.
    const env = { BUN_CONFIG_REGISTRY: registry.url, NPM_CONFIG_REGISTRY: registry.url };
    const output = await succeed([program, "examples/contenders.ts"], folder.path, env);
    assert.match(output, /everyone has led once, under tokens 1, 2, 3$/m);
    assert.deepEqual(registry.asked.filter((path) => /multilock/i.test(path)), []);
  });

  testOn(guest, "elect runs a command from a checkout", async (program) => {
    await using folder = await checkout();
    const env = { ELECT_PROVIDER: `file://${folder.path}/leases` };
    const run = [program, "cli.ts", "run", "nightly", "--", "sh", "-c", "echo leader $ELECT_TOKEN"];
    assert.match(await succeed(run, folder.path, env), /^leader 1$/m);
    assert.match(await succeed([program, "cli.ts", "groups"], folder.path, env), /nightly/);
  });
}

testOn("the oldest node", "the conformance suite passes on embedded backends", async (program) => {
  await using folder = await checkout();
  const targets = ["memory:getting-in", `file://${folder.path}/leases`, `sqlite://${folder.path}/leases.db`];
  const output = await succeed([program, "tests/getting_in/conformance.ts", ...targets], folder.path);
  assert.match(output, /^\d{3,} passed, 0 failed$/m);
});

Deno.test("engines, README and the error on an older Node name the same floor", async () => {
  const read = (path: string) => Deno.readTextFile(new URL(path, ROOT));
  const { engines }: { engines: { node: string } } = JSON.parse(await read("package.json"));
  const [, floor = ""] = /^>=(\d+\.\d+)$/.exec(engines.node) ?? [];
  assert.match(await read("README.md"), new RegExp(`Node ${RegExp.escape(floor)}`));
  const [major, minor] = floor.split(".");
  assert.match(await read("src/floor.ts"), new RegExp(`\\[MAJOR, MINOR\\] = \\[${major}, ${minor}\\]`));
  assert.match(await read("tests/runner/runtimes.ts"), new RegExp(`"node@${RegExp.escape(floor)}\\.0"`));
});

for (const entry of ["mod.ts", "cli.ts"]) {
  testOn("node", `${entry} refuses a Node that is too old, by name`, async (program) => {
    await using folder = await checkout();
    const older = `data:text/javascript,Object.defineProperty(process.versions, "node", { value: "22.17.1" })`;
    const script = `import(${JSON.stringify(`./${entry}`)}).catch(({ message }) => console.log(message))`;
    const output = await succeed([program, "--import", older, "--eval", script], folder.path);
    assert.match(
      output,
      /^Cannot use @multilock\/core on Node 22\.17\.1: it needs Node 22\.18 or later, Deno or Bun$/m,
    );
  });
}
