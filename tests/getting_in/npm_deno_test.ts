/** The package from JSR's npm layer, installed into an empty project: on Bun, on Node, and on the oldest Node. */

import assert from "node:assert/strict";
import { MODULES } from "../../cli/modules.ts";
import { programOf } from "../runner/runtimes.ts";
import { GUESTS, testOn } from "../runner/test_on.ts";
import { findProgram } from "../servers/process.ts";
import { firstProgram, LEADS, succeed } from "./elects.ts";
import { serves } from "./serves.ts";
import {
  driversOf,
  type EmptyFolder,
  emptyFolder,
  NAME,
  type NpmPackage,
  packagesOf,
  packForNpm,
  PUBLIC_NAMES,
} from "./published.ts";

/** What a project in TypeScript has beside the package. */
const TYPES = { typescript: "^7", "@types/node": "^22" };

/** An empty project, and the package that it will install. */
interface Project extends EmptyFolder {
  readonly core: NpmPackage;
}

/** Writes the first programs of a project: in JavaScript, in TypeScript, and one that imports everything. */
async function project(manifest: object = {}): Promise<Project> {
  const folder = await emptyFolder();
  const path = `${folder.path}/project`;
  await Deno.mkdir(path);
  const core = await packForNpm(folder.path);
  const program = firstProgram(NAME, `${NAME}/sqlite`);
  const all = PUBLIC_NAMES.map((name, i) => `import * as m${i} from "${name}";\nconsole.log(typeof m${i});`);
  const texts = {
    "package.json": JSON.stringify({
      private: true,
      type: "module",
      dependencies: { [NAME]: core.tarball },
      ...manifest,
    }),
    "main.js": program,
    "main.ts": program,
    "all.ts": all.join("\n"),
    "tsconfig.json": JSON.stringify({
      compilerOptions: { strict: true, noEmit: true, skipLibCheck: false, types: ["node"] },
    }),
  };
  for (const [name, text] of Object.entries(texts)) await Deno.writeTextFile(`${path}/${name}`, text);
  return { ...folder, path, core, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

/** Runs what was written. */
async function tryOut(program: string, { path, env }: EmptyFolder): Promise<void> {
  for (const target of ["memory:", `file://${path}/leases`, `sqlite://${path}/leases.db`]) {
    for (const main of ["main.js", "main.ts"]) {
      assert.match(await succeed([program, main], path, { ...env, ELECT_PROVIDER: target }), LEADS);
    }
  }
  const all = await succeed([program, "all.ts"], path);
  assert.equal(all.match(/^object$/gm)?.length, PUBLIC_NAMES.length, all);
  const run = [program, `node_modules/${NAME}/cli.js`, "run", "nightly", "--provider", `file://${path}/leases`, "--"];
  assert.match(await succeed([...run, "sh", "-c", "echo leader $ELECT_TOKEN"], path), /^leader \d+$/m);
}

testOn("bun", "bun installs the package with all drivers, and JavaScript and TypeScript run", async (bun) => {
  await using folder = await project();
  await succeed([bun, "install"], folder.path);
  const drivers = (await Promise.all([...Object.keys(MODULES).map(driversOf), packagesOf(/^\/cli\//)])).flat();
  const installed = Object.keys(folder.core.dependencies).filter((name) => !name.startsWith("@opentelemetry/"));
  assert.deepEqual(installed.sort(), drivers.sort());
  for (const name of drivers) assert.ok(await isThere(`${folder.path}/node_modules/${name}/package.json`), name);
  await tryOut(bun, folder);
  await serves([bun, `node_modules/${NAME}/cli.js`], folder.path, { ELECT_PROVIDER: `file://${folder.path}/leases` });
});

testOn("the oldest node", "npm installs the package without what is not used, and tsc is strict", async (oldest) => {
  const npm = await findProgram("npm");
  assert.ok(npm);
  // As docs/install.md says: drivers that are not used become an empty package.
  const overrides = { mssql: "file:nothing", "@azure/storage-blob": "file:nothing" };
  await using folder = await project({ devDependencies: TYPES, overrides });
  await Deno.mkdir(`${folder.path}/nothing`);
  await Deno.writeTextFile(
    `${folder.path}/nothing/package.json`,
    JSON.stringify({ name: "nothing", version: "1.0.0" }),
  );
  await succeed([npm, "install", "--prefer-offline", "--no-audit", "--no-fund"], folder.path);
  assert.ok(await isThere(`${folder.path}/node_modules/ioredis/package.json`));
  for (const name of ["tedious", "@azure/core-client"]) {
    assert.ok(!await isThere(`${folder.path}/node_modules/${name}`));
  }
  for (const options of ["--module nodenext", "--module esnext --moduleResolution bundler --target es2022"]) {
    await succeed([oldest, "node_modules/typescript/bin/tsc", "--project", ".", ...options.split(" ")], folder.path);
  }
  for (const program of [oldest, await programOf("node")]) {
    await tryOut(program, folder);
    const env = { ELECT_PROVIDER: `file://${folder.path}/leases` };
    await serves([program, `node_modules/${NAME}/cli.js`], folder.path, env);
  }
});

for (const guest of GUESTS) {
  testOn(guest, "memory, file and sqlite need no driver, and redis says how to get its own", async (program) => {
    await using folder = await project();
    await Deno.mkdir(`${folder.path}/node_modules/@multilock`, { recursive: true });
    await Deno.rename(folder.core.directory, `${folder.path}/node_modules/${NAME}`);
    // Bun would install what it misses.
    const env = { ...folder.env, BUN_CONFIG_REGISTRY: "http://127.0.0.1:1" };
    await tryOut(program, { ...folder, env });
    const [core, redis] = [NAME, `${NAME}/redis`].map((name) => JSON.stringify(name));
    const script = `import { elect } from ${core}; import ${redis};
      await elect("redis://127.0.0.1:1", { electionGroup: "g" }).catch(({ message }) => console.log(message));`;
    await Deno.writeTextFile(`${folder.path}/redis.js`, script);
    const cure = guest === "bun" ? "bun add ioredis" : "npm install ioredis";
    assert.match(
      await succeed([program, "redis.js"], folder.path, env),
      new RegExp(`"ioredis" is not installed: ${cure}`),
    );
  });
}

function isThere(path: string): Promise<boolean> {
  return Deno.stat(path).then(() => true, () => false);
}
