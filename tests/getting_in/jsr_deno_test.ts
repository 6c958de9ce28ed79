/** The package from JSR, in an empty folder: by its public names, on Deno. */

import assert from "node:assert/strict";
import { MODULES } from "../../cli/modules.ts";
import { DENO_RUN, firstProgram, LEADS, succeed } from "./elects.ts";
import { serves } from "./serves.ts";
import { driversOf, emptyFolder, NAME, PUBLIC_NAMES, serveJsr } from "./published.ts";

Deno.test("every public name is imported from JSR and checked, and memory, file and sqlite elect", async () => {
  await using folder = await emptyFolder();
  await using registry = await serveJsr();
  const env = { ...folder.env, JSR_URL: registry.url };
  const imports = PUBLIC_NAMES.map((name, i) => `import * as m${i} from "jsr:${name}";\nconsole.log(typeof m${i});`);
  await Deno.writeTextFile(`${folder.path}/all.ts`, imports.join("\n"));
  const all = await succeed([...DENO_RUN, "all.ts"], folder.path, env);
  assert.equal(all.match(/^object$/gm)?.length, PUBLIC_NAMES.length, all);

  await Deno.writeTextFile(`${folder.path}/main.ts`, firstProgram(`jsr:${NAME}`, `jsr:${NAME}/sqlite`));
  await succeed([Deno.execPath(), "check", "--no-config", "--no-lock", "all.ts", "main.ts"], folder.path, env);
  for (const target of ["memory:", `file://${folder.path}/leases`, `sqlite://${folder.path}/leases.db`]) {
    assert.match(await succeed([...DENO_RUN, "main.ts"], folder.path, { ...env, ELECT_PROVIDER: target }), LEADS);
  }
});

Deno.test("each module of a provider brings its own driver alone from npm, mod.ts none, and nothing of JSR", async () => {
  await using folder = await emptyFolder();
  await using registry = await serveJsr();
  const env = { ...folder.env, JSR_URL: registry.url };
  // It is small, and loaded by applications that have registered an SDK.
  const telemetry = "@opentelemetry/api";
  assert.deepEqual(await npmPackagesOf(`jsr:${NAME}`), [telemetry]);
  for (const name of Object.keys(MODULES)) {
    const found = await npmPackagesOf(`jsr:${NAME}/${name}`);
    assert.deepEqual(found.filter((each) => each !== telemetry), await driversOf(name), name);
  }
  assert.deepEqual(registry.asked.filter((path) => !path.startsWith(`/${NAME}/`)), []);

  /** Returns the packages of npm that a module may load, now or later, without those that these need. */
  async function npmPackagesOf(specifier: string): Promise<string[]> {
    const argv = [Deno.execPath(), "info", "--json", "--no-config", "--no-lock", specifier];
    const output = await succeed(argv, folder.path, env);
    const { modules }: { modules: { kind: string; specifier: string }[] } = JSON.parse(output.replace(/^[^{]*/, ""));
    assert.ok(modules.length > 10, output);
    const names = modules.map(({ specifier }) => /^npm:\/(@?[^@]+)@/.exec(specifier)?.[1]);
    return [...new Set(names.filter((name) => name !== undefined))].sort();
  }
});

Deno.test("elect, installed from JSR as the README says, runs a command, and serves", async () => {
  await using folder = await emptyFolder();
  await using registry = await serveJsr();
  const env = { ...folder.env, JSR_URL: registry.url, ELECT_PROVIDER: `file://${folder.path}/leases` };
  await succeed(
    [Deno.execPath(), "install", "-gA", "--root", folder.path, "-n", "elect", `jsr:${NAME}/cli`],
    folder.path,
    env,
  );
  const elect = `${folder.path}/bin/elect`;
  const PATH = `${Deno.execPath().replace(/\/[^/]*$/, "")}:${Deno.env.get("PATH")}`;
  const run = ["env", `PATH=${PATH}`, elect, "run", "nightly"];
  assert.match(await succeed([...run, "--", "sh", "-c", "echo leader $ELECT_TOKEN"], folder.path, env), /^leader 1$/m);
  // Everything is in the cache by now: the registry is not asked again, when a server starts without a network.
  const asked = registry.asked.length;
  await serves([elect], folder.path, { ...env, PATH });
  assert.deepEqual(registry.asked.slice(asked), []);
});

Deno.test("what the unit and the image install serves a user without rights, who may only read it, without a network", async () => {
  if (Deno.uid() !== 0) return console.log("skipped: only root can become another user");
  await using folder = await emptyFolder();
  const { path } = folder;
  await Deno.chmod(path, 0o755);
  // The files of npm are those of the machine: a user without rights may read them, but not reach them.
  const npm = await Deno.realPath(`${folder.env["DENO_DIR"]}/npm`);
  for (const directory of ["lib", "bin"]) await Deno.mkdir(`${path}/${directory}`);
  // Links where they can be had: they are many.
  const copy = (how: string) => succeed(["cp", how, npm, `${path}/lib/`], path);
  await copy("-al").catch(() => copy("-r"));
  await Deno.copyFile(Deno.execPath(), `${path}/bin/deno`);
  const registry = await serveJsr();
  const env = {
    PATH: `${path}/bin:/usr/bin:/bin`,
    DENO_DIR: `${path}/lib`,
    DENO_NO_UPDATE_CHECK: "1",
    JSR_URL: registry.url,
    ELECT_PROVIDER: "memory:",
  };
  const roots: string[] = [];
  try {
    for (const file of ["systemd/elect-serve.service", "docker/Dockerfile"]) {
      const text = await Deno.readTextFile(new URL(`../../deploy/${file}`, import.meta.url));
      const [install = ""] = /deno install .*jsr:\S+/.exec(text) ?? [];
      assert.match(install, / \/usr\/local .*jsr:@multilock\/core\/cli$/);
      const root = `${path}/${file.replace(/\/.*/, "")}`;
      await succeed(["sh", "-c", install.replace("/usr/local", root)], path, env);
      roots.push(root);
    }
  } finally {
    await registry[Symbol.asyncDispose]();
  }
  const become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const clean = Object.entries({ ...env, HOME: "/nonexistent" }).map(([name, value]) => `${name}=${value}`);
  for (const root of roots) await serves(["env", "-i", "-C", "/", ...clean, ...become, `${root}/bin/elect`], path, {});
});
