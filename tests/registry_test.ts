import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { systemClock } from "../src/time/clock.ts";
import { elect } from "../src/elect.ts";
import { CARDS } from "../providers/catalog.ts";
import {
  announceProviders,
  openProvider,
  type ProviderDefinition,
  providers,
  registerProvider,
} from "../src/registry.ts";
import { Stage } from "./stage.ts";

announceProviders(CARDS);

const definition = (name: string, ...protocols: string[]): ProviderDefinition => ({
  name,
  protocols,
  open: () => new Stage().open(),
});

test("openProvider() opens by scheme, whatever its case", async () => {
  let seen = "";
  registerProvider({ ...definition("cased", "cased:"), open: (url) => (seen = url, new Stage().open()) });
  await openProvider("CASED://Host/Path");
  assert.equal(seen, "CASED://Host/Path");
  await openProvider(new URL("cased://host/x"));
  assert.equal(seen, "cased://host/x");
});

test("openProvider() asks matches, when no scheme fits", async () => {
  registerProvider({ ...definition("dsn"), matches: (target) => target.startsWith("Dsn=") });
  await openProvider("Dsn=x;Password=y");
});

test("openProvider() asks no matches, when a scheme fits, and passes its options on", async () => {
  let seen: unknown;
  registerProvider({ ...definition("greedy"), matches: (target) => target.startsWith("modest:") });
  registerProvider({
    ...definition("modest", "modest:"),
    open: (_url, options) => (seen = options, new Stage().open()),
  });
  const options = { clock: systemClock };
  await openProvider("modest:x", options);
  assert.equal(seen, options);
});

test("openProvider() names the import and the form that would help, and no password", async () => {
  const path = fileURLToPath(new URL("unregistered_targets.ts", import.meta.url));
  await promisify(execFile)(process.execPath, "Deno" in globalThis ? ["run", "-A", path] : [path]);
});

test("registerProvider() takes http: and https:, which belong to no provider of this package", async () => {
  registerProvider(definition("web", "http:", "https:"));
  assert.ok(await openProvider("https://example.com/x"));
});

test("registerProvider() keeps the first of a name, and refuses another with other schemes", () => {
  const first = definition("twice", "twice:", "twices:");
  registerProvider(first);
  registerProvider(definition("twice", "twices:", "twice:"));
  assert.equal(providers().find(({ name }) => name === "twice"), first);
  assert.throws(() => registerProvider(definition("twice", "other:")), /the name is taken/);
  assert.throws(() => registerProvider(definition("thrice", "twice:")), /"twice:" is taken by "twice"/);
});

test("registerProvider() refuses what is no definition", () => {
  assert.throws(() => registerProvider(definition("Bad Name", "x:")), TypeError);
  assert.throws(() => registerProvider(definition("noscheme", "x")), TypeError);
  assert.throws(() => registerProvider({ name: "a", protocols: [] } as unknown as ProviderDefinition), TypeError);
});

test("two copies of the core share the registry", async () => {
  const shared = (globalThis as Record<symbol, unknown>)[Symbol.for("@multilock/core/registry@1")];
  assert.ok(shared instanceof Map && shared.has("memory"));
  registerProvider(definition("of-the-first-copy", "first-copy:"));
  const directory = await mkdtemp(join(tmpdir(), "elect-test-copy-"));
  await cp(new URL("../src", import.meta.url), directory, { recursive: true });
  const url = pathToFileURL(join(directory, "registry.ts")).href;
  const second: { providers: typeof providers } = await import(url).finally(() => rm(directory, { recursive: true }));
  assert.notEqual(second.providers, providers);
  assert.ok(second.providers().some(({ name }) => name === "of-the-first-copy"));
});

test("elect() refuses bad options before it opens the provider", async () => {
  let opened = 0;
  registerProvider({ ...definition("eager", "eager:"), open: () => (opened++, new Stage().open()) });
  await assert.rejects(elect("eager:", { electionGroup: "a/b" }), TypeError);
  await assert.rejects(elect("eager:", { electionGroup: "g", signal: AbortSignal.abort(new Error("no")) }), /no/);
  assert.equal(opened, 0);
});
