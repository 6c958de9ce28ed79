/** A permission or a driver that is missing ends the start of an election, instead of being waited for. */

import assert from "node:assert/strict";
import { addressesIn } from "./permissions.ts";
import { CARDS } from "../providers/catalog.ts";
import { programOf } from "./runner/runtimes.ts";

const ROOT = new URL("../", import.meta.url);

/** A target of each provider that needs something. Nobody listens there, which alone would be waited for. */
const TARGETS: readonly (readonly [name: string, target: string])[] = [
  ["file", "file:///tmp/elect-missing"],
  ["sqlite", "sqlite:///tmp/elect-missing.db"],
  ["postgres", "postgres://u:hunter2@127.0.0.1:1/d"],
  ["sqlserver", "sqlserver://u:hunter2@127.0.0.1:1/d"],
  ["redis", "redis://u:hunter2@127.0.0.1:1"],
  ["redis", "redis+sentinel://127.0.0.1:1/primary"],
  ["redis", "redis+cluster://127.0.0.1:1"],
  ["azure-blob", "http://127.0.0.1:1/devstoreaccount1/elections"],
  ["consul", "consul://:hunter2@127.0.0.1:1"],
  ["zookeeper", "zookeeper://u:hunter2@127.0.0.1:1"],
  ["etcd", "etcd://u:hunter2@127.0.0.1:1"],
  ["mysql", "mysql://u:hunter2@127.0.0.1:1/d"],
  ["kubernetes", "k8s+http://127.0.0.1:1/elections"],
];

/** Prints, of each target of `targets`, how `elect()` ended. */
function script(base: string, targets: typeof TARGETS): string {
  const modules = new Set(targets.map(([name]) => name.replaceAll("-", "_")));
  return `import { elect } from "${base}mod.ts";
${[...modules].map((name) => `import "${base}providers/${name}.ts";`).join("\n")}
for (const [name, target] of ${JSON.stringify(targets)}) {
  const options = { electionGroup: "g", logger: null, participantId: "p", signal: AbortSignal.timeout(20_000) };
  const end = await elect(target, options).then(
    async (election) => {
      const { role, lastError } = election.status;
      await election.stop();
      return [role, String(lastError?.error)];
    },
    (error) => [error.permanent ? "permanent" : "rejected", String(error)],
  );
  console.log(JSON.stringify([target, ...end]));
}
`;
}

type End = readonly [target: string, how: string, why: string];

async function run(program: string, args: readonly string[], cwd: string, env: Record<string, string> = {}) {
  const { stdout, stderr } = await new Deno.Command(program, { args: [...args], cwd, env }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  const ends = (out ?? "").trim().split("\n").filter(Boolean).map((line) => JSON.parse(line) as End);
  assert.equal(`${out}${err}`.includes("hunter2@"), JSON.stringify(ends).includes("hunter2@"));
  return { ends, err: err ?? "" };
}

Deno.test("every provider that needs something has a target here", () => {
  const named = new Set(TARGETS.map(([name]) => name));
  assert.deepEqual(CARDS.map(({ name }) => name).filter((name) => !named.has(name)), ["memory"]);
});

Deno.test("elect() rejects for good, when Deno does not permit what a backend needs", async () => {
  const directory = await Deno.makeTempDir({ prefix: "elect-missing-" });
  try {
    await Deno.writeTextFile(`${directory}/main.ts`, script(ROOT.href, TARGETS));
    const config = `--config=${new URL("deno.json", ROOT).pathname}`;
    const args = ["run", "--no-prompt", "--no-check", "--allow-env", "--allow-sys", config, `${directory}/main.ts`];
    const { ends, err } = await run(Deno.execPath(), args, directory);
    assert.equal(ends.length, TARGETS.length, err);
    for (const [target, how, why] of ends) {
      assert.equal(how, "permanent", `${target}: ${how} ${why}`);
      assert.match(why, addressesIn(target).length > 0 ? /--allow-net|net access/ : /--allow-(read|write)/, target);
      assert.doesNotMatch(why, /hunter2/);
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("elect() rejects for good, with the cure for the runtime, when a driver is missing", async () => {
  const directory = await Deno.makeTempDir({ prefix: "elect-missing-" });
  try {
    // Away from node_modules, where whoever has copied only the sources is.
    for (const part of ["mod.ts", "src", "providers"]) await copy(new URL(part, ROOT).pathname, `${directory}/${part}`);
    const needy = TARGETS.filter(([name]) => ["postgres", "sqlserver", "mysql", "redis", "azure-blob"].includes(name));
    await Deno.writeTextFile(`${directory}/main.ts`, script("./", needy));
    await Deno.writeTextFile(`${directory}/package.json`, `{ "type": "module" }`);
    const cures = { deno: "deno add npm:", bun: "bun add ", node: "npm install " } as const;
    const flags = {
      deno: ["run", "-A", "--no-check", "--no-config", "--no-npm", "--node-modules-dir=none"],
      bun: ["run", "--no-install"],
      node: [],
    } as const;
    for (const runtime of ["deno", "bun", "node"] as const) {
      const { ends, err } = await run(await programOf(runtime), [...flags[runtime], "main.ts"], directory);
      assert.equal(ends.length, needy.length, `${runtime}: ${err}`);
      for (const [target, how, why] of ends) {
        assert.equal(how, "permanent", `${runtime}, ${target}: ${how} ${why}`);
        assert.ok(why.includes(`is not installed: ${cures[runtime]}`), `${runtime}, ${target}: ${why}`);
      }
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

async function copy(from: string, to: string): Promise<void> {
  if ((await Deno.stat(from)).isFile) return await Deno.copyFile(from, to);
  await Deno.mkdir(to);
  for await (const { name } of Deno.readDir(from)) await copy(`${from}/${name}`, `${to}/${name}`);
}
