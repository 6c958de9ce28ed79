/** A new backend is two files, a card and one command: shown with one that a stranger might write. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Checkout } from "./mutants/checkout.ts";
import { execute } from "./runner/command.ts";

const PROVIDER = `
import { fileURLToPath } from "node:url";
import { registerProvider } from "../src/registry.ts";
import { CATALOG } from "./catalog.ts";
import { sqliteProvider } from "./sqlite.ts";

registerProvider({
  ...CATALOG["brand-new"],
  open: (url) => sqliteProvider({ path: fileURLToPath(url.replace(/^brandnew:/, "file:")) }),
});
`;
const SERVER = `
import type { ServerKind } from "./server.ts";

export const remoteServer: ServerKind = {
  name: "remote",
  compose: { url: "remote://127.0.0.1:59999", image: "remote:1", port: 9999, healthCheck: ["true"] },
  install: () => Promise.resolve(),
  start: () => Promise.reject(new Error("it is only shown")),
};
`;
const REMOTE = PROVIDER.replace('["brand-new"]', ".remote").replace("brandnew:", "remote:");

test("deno task sync begins what a new provider lacks, and what it begins works", async () => {
  await using checkout = await Checkout.copy();
  const write = (path: string, text: string) => Deno.writeTextFile(`${checkout.root}${path}`, text);
  const read = (path: string) => Deno.readTextFile(`${checkout.root}${path}`);
  const deno = (...args: string[]) => execute({ argv: [Deno.execPath(), ...args], cwd: checkout.root });
  const cards = await read("providers/catalog.ts");
  const card = (name: string, scheme: string, more: string) =>
    `  ${JSON.stringify(name)}: {
    name: "${name}",
    title: "Something ${name}",
    watch: true,
    module: "${name}",
    protocols: ["${scheme}:"],
    sample: "${scheme}:///var/lib/app/leases.db",
    permissions: [],${more}
  },
`;
  const end = "} as const satisfies";
  const added = card("brand-new", "brandnew", "") + card("remote", "remote", "\n    port: 9999,");
  await write("providers/catalog.ts", cards.replace(end, `${added}${end}`));
  await write("providers/brand_new.ts", PROVIDER);
  await write("providers/remote.ts", REMOTE);
  const early = await deno("run", "-A", "tests/sync.ts");
  assert.match(early.output, /write tests\/servers\/remote\.ts first/);
  await write("tests/servers/remote.ts", SERVER);
  const { ok, output } = await deno("run", "-A", "tests/sync.ts");
  assert.ok(ok, output);
  assert.match(await read("README.md"), /\[Something brand-new\]\(docs\/backends\/brand-new\.md\)/);
  assert.match(await read("docker-compose.yml"), /^ {2}remote:\n {4}image: remote:1$/m);
  const begun = ["bench/backends", "tests/mutants/providers"].flatMap((directory) =>
    ["brand_new", "remote"].map((name) => `${directory}/${name}.ts`)
  );
  const checked = await deno("check", ...begun, "tests/providers/remote_test.ts");
  assert.ok(checked.ok, checked.output);
  const complete = await deno("test", "-A", "--no-check", "tests/completeness_test.ts");
  assert.ok(complete.ok, complete.output);
  const suite = await deno("test", "-A", "--no-check", "tests/providers/brand_new_test.ts", "--filter", "acquire()");
  assert.ok(suite.ok, suite.output);
  assert.match(suite.output, /\b[1-9]\d* passed/);
});
