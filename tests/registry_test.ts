import assert from "node:assert/strict";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
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

test("openProvider() names the import that would help, and no password", async () => {
  await assert.rejects(openProvider("consul://u:hunter2@host"), (error: Error) => {
    assert.ok(error instanceof TypeError);
    assert.match(error.message, /import "jsr:@multilock\/core\/consul"/);
    assert.doesNotMatch(error.message, /hunter2/);
    return true;
  });
  await assert.rejects(openProvider("Server=db;Password=hunter2"), /core\/sqlserver/);
  await assert.rejects(openProvider("AccountName=a;AccountKey=hunter2"), /core\/azure-blob/);
  await assert.rejects(openProvider("https://acc.blob.core.windows.net/locks?sig=hunter2"), /core\/azure-blob/);
  await assert.rejects(openProvider("http://127.0.0.1:10000/devstoreaccount1/locks"), /core\/azure-blob/);
  for (const url of ["https://example.com/x", "http://localhost:8500"]) {
    await assert.rejects(openProvider(url), (error: Error) => !/azure/.test(error.message), url);
  }
  await assert.rejects(openProvider("gopher://x"), /known are .*memory: /);
  await assert.rejects(openProvider(""), TypeError);
});

test("openProvider() names the form of a target that would be opened", async () => {
  const cures = {
    "localhost:6379": 'did you mean "redis://localhost:6379"?',
    "localhost:2181": 'did you mean "zookeeper://localhost:2181"?',
    "http://localhost:8500": 'did you mean "consul://localhost:8500"?',
    "[::1]:5432": 'did you mean "postgres://[::1]:5432"?',
    "postgre://h/d": 'did you mean "postgres:"?',
    "redis+sentinal://h/m": 'did you mean "redis+sentinel:"?',
    "/var/lib/leases": 'did you mean "file:/var/lib/leases"?',
    "./leases": 'did you mean "file:./leases"?',
    "redis//h": 'did you mean "redis://h"?',
    "postgres//u:secret@h/d": 'did you mean "postgres://u:***@h/d"?',
    "Host=h;Database=d": 'add: import "jsr:@multilock/core/postgres"',
    "Address=127.0.0.1,1433;Database=app": 'add: import "jsr:@multilock/core/sqlserver"',
    "Server = h;Database=d": 'add: import "jsr:@multilock/core/sqlserver"',
  };
  for (const [target, cure] of Object.entries(cures)) {
    await assert.rejects(openProvider(target), (error: Error) => error.message.endsWith(cure), target);
  }
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
