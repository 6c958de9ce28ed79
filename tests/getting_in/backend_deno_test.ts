/**
 * Getting in on every backend with a server: those whose `ELECT_TEST_<NAME>_URL` is set. The driver runs this file with
 * the tests of each.
 */

import assert from "node:assert/strict";
import { BACKENDS } from "../permissions.ts";
import { ROOT } from "../runner/command.ts";
import { GUESTS, testOn } from "../runner/test_on.ts";
import { urlVariable } from "../servers/backend.ts";
import { DENO_RUN, firstProgram, LEADS, moduleOf, succeed } from "./elects.ts";
import { driversOf, emptyFolder, NAME, packForNpm, serveCheckout, serveJsr } from "./published.ts";

for (const name of BACKENDS) {
  const target = Deno.env.get(urlVariable(name));
  if (target === undefined) continue;
  const provider = { ELECT_PROVIDER: target };

  Deno.test(`${name} elects by URL, without an import map`, async () => {
    await using folder = await emptyFolder();
    await using server = serveCheckout();
    const program = firstProgram(`${server.url}/mod.ts`, `${server.url}/${moduleOf(name)}`);
    await Deno.writeTextFile(`${folder.path}/main.ts`, program);
    const env = { ...folder.env, ...provider };
    assert.match(await succeed([...DENO_RUN, "main.ts"], folder.path, env), LEADS);
    const run = [
      ...DENO_RUN,
      `${server.url}/cli.ts`,
      "run",
      "getting-in",
      "--",
      "sh",
      "-c",
      "echo leader $ELECT_TOKEN",
    ];
    assert.match(await succeed(run, folder.path, env), /^leader \d+$/m);
  });

  Deno.test(`${name} elects by its public name, from JSR`, async () => {
    await using folder = await emptyFolder();
    await using registry = await serveJsr();
    await Deno.writeTextFile(`${folder.path}/main.ts`, firstProgram(`jsr:${NAME}`, `jsr:${NAME}/${name}`));
    const env = { ...folder.env, ...provider, JSR_URL: registry.url };
    assert.match(await succeed([...DENO_RUN, "main.ts"], folder.path, env), LEADS);
  });

  for (const guest of GUESTS) {
    testOn(guest, `${name} elects from npm, with no driver but its own`, async (program) => {
      await using folder = await emptyFolder();
      const { directory } = await packForNpm(folder.path);
      const modules = `${folder.path}/node_modules`;
      await Deno.mkdir(`${modules}/@multilock`, { recursive: true });
      await Deno.rename(directory, `${modules}/${NAME}`);
      for (const driver of await driversOf(name)) {
        if (driver.includes("/")) await Deno.mkdir(`${modules}/${driver.split("/")[0]}`, { recursive: true });
        await Deno.symlink(await Deno.realPath(new URL(`node_modules/${driver}`, ROOT)), `${modules}/${driver}`);
      }
      await Deno.writeTextFile(`${folder.path}/main.mjs`, firstProgram(NAME, `${NAME}/${name}`));
      // Bun would install what it misses.
      const env = { ...provider, BUN_CONFIG_REGISTRY: "http://127.0.0.1:1" };
      assert.match(await succeed([program, "main.mjs"], folder.path, env), LEADS);
    });
  }
}
