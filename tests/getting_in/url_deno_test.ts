/** The package by URL, in an empty folder, without an import map. */

import assert from "node:assert/strict";
import { MODULES } from "../../cli/modules.ts";
import { CARDS } from "../../providers/catalog.ts";
import { BACKENDS } from "../permissions.ts";
import { DENO_RUN, firstProgram, LEADS, moduleOf, succeed } from "./elects.ts";
import { emptyFolder, serve, serveCheckout } from "./published.ts";
import { serves } from "./serves.ts";

/** Targets at which nobody listens, without files: the driver must be loaded to find that out. */
const DEAD_ENDS = CARDS.filter(({ port }) => port !== undefined).map(({ name, sample }) => [
  name,
  name === "azure-blob"
    ? "http://127.0.0.1:1/devstoreaccount1/elections"
    : sample.replace(/localhost:\d+/, "127.0.0.1:1").replace(/\?.*/, ""),
]);

Deno.test("each provider gets as far as the network, when imported by URL without an import map", async () => {
  await using folder = await emptyFolder();
  await using server = serveCheckout();
  const imports = Object.keys(MODULES).map((name) => `import "${server.url}/${moduleOf(name)}";`);
  await Deno.writeTextFile(
    `${folder.path}/main.ts`,
    `import { openProvider } from "${server.url}/mod.ts";
${imports.join("\n")}
for (const [name, target] of ${JSON.stringify(DEAD_ENDS)}) {
  await using provider = await openProvider(target);
  const why = await provider.read("g", { signal: AbortSignal.timeout(20_000) }).then(() => "answered", String);
  console.log(name, why);
}
`,
  );
  const output = await succeed([...DENO_RUN, "main.ts"], folder.path, folder.env);
  for (const [name, target] of DEAD_ENDS) {
    assert.match(
      target ?? "",
      /127\.0\.0\.1:1\b/,
      `the sample of ${name} must be on localhost, or this test know better`,
    );
    assert.match(output, new RegExp(`^${name} .*(refused|ECONNREFUSED|connect|ConnectionRefused)`, "mi"), output);
  }
  assert.doesNotMatch(output, /not installed|not a dependency/);
});

for (const name of Object.keys(MODULES).filter((name) => !BACKENDS.includes(name)).concat("file")) {
  Deno.test(`${name} elects, when imported by URL without an import map`, async () => {
    await using folder = await emptyFolder();
    await using server = serveCheckout();
    const program = firstProgram(`${server.url}/mod.ts`, `${server.url}/${moduleOf(name)}`);
    await Deno.writeTextFile(`${folder.path}/main.ts`, program);
    const env = { ...folder.env, ELECT_PROVIDER: `${name}://${folder.path}/leases` };
    assert.match(await succeed([...DENO_RUN, "main.ts"], folder.path, env), LEADS);
  });
}

Deno.test("deno run http://HOST/cli.ts run leads, also with a provider that --import brings by URL", async () => {
  await using folder = await emptyFolder();
  await using server = serveCheckout();
  await using elsewhere = serve((path) => path === "/mine.ts" ? thirdParty(server.url) : null);
  const run = (...options: string[]) =>
    succeed(
      [...DENO_RUN, `${server.url}/cli.ts`, "run", ...options, "nightly", "--", "sh", "-c", "echo leader $ELECT_TOKEN"],
      folder.path,
      folder.env,
    );
  assert.match(await run("--provider", `file://${folder.path}/leases`), /^leader 1$/m);
  assert.match(await run("--import", `${elsewhere.url}/mine.ts`, "--provider", "mine://here"), /^leader 1$/m);
  assert.ok(elsewhere.asked.includes("/mine.ts"));
});

Deno.test("deno run http://HOST/cli.ts serve serves", async () => {
  await using folder = await emptyFolder();
  await using server = serveCheckout();
  const env = { ...folder.env, ELECT_PROVIDER: `file://${folder.path}/leases` };
  await serves([...DENO_RUN, `${server.url}/cli.ts`], folder.path, env);
});

/** A module of somebody else, which registers a provider. */
function thirdParty(core: string): string {
  return `import { registerProvider } from "${core}/mod.ts";
import { memoryProvider } from "${core}/providers/memory.ts";
registerProvider({ name: "mine", protocols: ["mine:"], open: (url) => memoryProvider({ name: String(url) }) });
`;
}
