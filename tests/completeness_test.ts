/** Every provider must be wired up everywhere: a backend that nobody can import, run, find or permit is not there. */

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { CARDS } from "../providers/catalog.ts";
import { cardFor } from "../src/registry.ts";
import { addressesIn, BACKENDS, PERMISSIONS, testFlags } from "./permissions.ts";
import { kindOf } from "./servers/kinds.ts";
import { ownFiles, synced } from "./sync.ts";

const root = new URL("../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");
const modules = readdirSync(new URL("providers/", root)).filter((file) =>
  file.endsWith(".ts") && file !== "catalog.ts"
);

for (const file of modules) {
  const name = file.slice(0, -".ts".length).replaceAll("_", "-");

  test(`provider ${name} has its card in the catalog, and registers itself with it`, () => {
    const card = CARDS.find((each) => each.name === name);
    assert.ok(card, `providers/catalog.ts has no card "${name}"`);
    assert.equal(card.module, name);
    assert.equal(cardFor(card.sample, CARDS), card, "its sample must be its own");
    // As text, not by importing: what registers in this process would be known to other tests, too.
    const reference = /^[a-z]+$/.test(name) ? `CATALOG.${name}` : `CATALOG["${name}"]`;
    assert.ok(read(`providers/${file}`).includes(`registerProvider({\n  ...${reference},`));
  });

  test(`provider ${name} has its export in deno.json`, () => {
    const { exports }: { exports: Record<string, string> } = JSON.parse(read("deno.json"));
    assert.equal(exports[`./${name}`], `./providers/${file}`);
  });

  test(`provider ${name} has its conformance run`, () => {
    const path = `tests/providers/${file.replace(".ts", "_test.ts")}`;
    assert.ok(existsSync(new URL(path, root)), `there is no ${path}`);
    assert.match(read(path), /conformanceCases\(/);
  });

  test(`provider ${name} has its page, its bench file, its mutants and, if it needs one, its server`, () => {
    for (const path of ownFiles(name)) assert.ok(existsSync(new URL(path, root)), `there is no ${path}`);
  });
}

for (const name of BACKENDS) {
  test(`backend ${name} has its compose service, which is reachable on this machine alone`, async () => {
    const { compose } = await kindOf(name);
    assert.ok(compose, `the server of "${name}" in tests/servers/ has no "compose"`);
    assert.match(compose.url, /\b(127\.0\.0\.1|localhost):5\d{4}\b/);
    assert.match(read("docker-compose.yml"), new RegExp(`^ {2}${name}:\n {4}image: ${compose.image}$`, "m"));
  });
}

test("what follows from the catalog is what deno task sync writes", () => {
  for (const { path, text } of synced(read)) assert.equal(read(path), text, `${path}: run deno task sync`);
});

test("every permission belongs to a provider", () => {
  const names = modules.map((file) => file.slice(0, -".ts".length).replaceAll("_", "-"));
  assert.deepEqual(Object.keys(PERMISSIONS).sort(), names.sort());
});

test("testFlags() allows what the README names, and the harness", () => {
  const control = "http://127.0.0.1:2";
  assert.deepEqual(testFlags("consul", "consul://127.0.0.1:1", control), [
    "--allow-net=127.0.0.1:1,127.0.0.1:2",
    "--allow-env=ELECT_TEST_*",
  ]);
  assert.deepEqual(testFlags("redis", "redis://u:12@h:1/0", undefined), ["--allow-net=h:1", "--allow-env"]);
  assert.deepEqual(testFlags("postgres", "postgres://h:1/d", undefined), [
    "--allow-net=h:1",
    "--allow-env=USER,NODE_PG_FORCE_NATIVE,PG*,ELECT_TEST_*",
  ]);
  const [kubernetes, env] = ["k8s://h:1/n?ca=/c&token=/t", "KUBERNETES_SERVICE_HOST,KUBERNETES_SERVICE_PORT"];
  assert.deepEqual(testFlags("kubernetes", kubernetes, undefined), [
    ...["--allow-net=h:1", "--allow-read=/c,/t", `--allow-env=${env},ELECT_TEST_*`],
  ]);
  assert.deepEqual(testFlags("kubernetes", "k8s+http://h:1/n", undefined), [
    ...["--allow-net=h:1", `--allow-env=${env},ELECT_TEST_*`],
  ]);
  assert.deepEqual(addressesIn("zookeeper://a:2181,b:2182/root"), ["a:2181", "b:2182"]);
});

test("package.json has the exports of deno.json: a checkout has them under their public names, on Node and Bun too", () => {
  assert.deepEqual(JSON.parse(read("package.json")).exports, JSON.parse(read("deno.json")).exports);
});
