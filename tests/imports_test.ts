/** Imports point one way, and drivers load lazily. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../", import.meta.url);

/** One import of a module. */
interface Import {
  readonly from: string;
  /** The path in the checkout, or a bare or `node:` specifier. */
  readonly to: string;
  readonly isTypeOnly: boolean;
  readonly isLazy: boolean;
}

const files = ["mod.ts", "cli.ts", ...["src", "providers", "testing", "fencing", "cli"].flatMap(filesIn)];
const imports = files.flatMap(importsOf);

/** What the files of each part may import. */
const ALLOWED: Readonly<Record<string, readonly RegExp[]>> = {
  "mod.ts": [/^src\//, /^providers\/(catalog|memory|file)\.ts$/],
  "cli.ts": [/^cli\//, /^mod\.ts$/, /^src\//],
  src: [/^src\//],
  testing: [/^src\//, /^testing\//],
  fencing: [/^src\//, /^fencing\//],
  cli: [/^cli\//, /^mod\.ts$/, /^src\//, /^providers\/([a-z_]+|kit\/driver)\.ts$/],
};

test("imports point one way", () => {
  const wrong = imports.filter(({ to }) => to.endsWith(".ts")).filter(({ from, to }) => !mayImport(from, to));
  assert.deepEqual(wrong.map(show), []);
});

test("imports have no cycle", () => {
  const next = new Map(
    files.map((file) => [file, imports.filter(({ from, isTypeOnly }) => from === file && !isTypeOnly)]),
  );
  const done = new Set<string>();
  const cycles: string[] = [];
  for (const file of files) visit(file, []);
  assert.deepEqual(cycles, []);

  function visit(file: string, path: readonly string[]): void {
    if (path.includes(file)) cycles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
    if (done.has(file) || path.includes(file)) return;
    for (const { to } of next.get(file) ?? []) visit(to, [...path, file]);
    done.add(file);
  }
});

test("the contract imports nothing that runs", () => {
  const contract = ["src/provider.ts", "src/errors.ts", "src/time/clock.ts"];
  const wrong = imports.filter(({ from, isTypeOnly }) => contract.includes(from) && !isTypeOnly);
  assert.deepEqual(wrong.map(show), []);
});

test("drivers load on first use, by a literal import()", () => {
  const bare = imports.filter(({ to }) => !to.endsWith(".ts") && !to.startsWith("node:"));
  assert.ok(bare.some(({ to, isLazy }) => to === "ioredis" && isLazy), "this test must see what it is about");
  const wrong = bare.filter(({ from, to, isLazy, isTypeOnly }) =>
    !isTypeOnly && !(isLazy && (from.startsWith("providers/") || isTelemetry(from, to) || isServer(from, to)))
  );
  assert.deepEqual(wrong.map(show), []);
});

test("mod.ts loads few modules at once, all of them ours", () => {
  const loaded = loadedBy("mod.ts");
  // Each takes Deno about 0.2 ms, and its first of node: 5 to 25 ms.
  assert.ok(loaded.length >= 30 && loaded.length <= 50, `${loaded.length} modules`);
  const others = loaded.filter((each) => !/^(mod|src\/.+|providers\/(catalog|memory|kit\/.+))\.ts$/.test(each));
  assert.deepEqual(others, []);
});

test("the guard of elect run loads no more than it needs, nor will it", () => {
  const loaded = loadedBy("cli/guard/guard_process.ts");
  assert.deepEqual(loaded.filter((each) => each.endsWith(".ts")).sort(), [
    "cli/guard/guard_process.ts",
    "cli/guard/processes.ts",
    "cli/lines.ts",
    "cli/signals.ts",
    "src/time/clock.ts",
  ]);
  // What is imported late is a part of Deno's graph, too: packages take memory there, though they are not loaded.
  const late = imports.filter(({ from, isLazy }) => isLazy && loaded.includes(from)).map(({ to }) => to);
  assert.deepEqual(late, ["node:inspector"]);
});

test("what serves over HTTP is imported late, by the command that does so", () => {
  const entries = imports.filter(({ from, to }) => to.startsWith("cli/serve/") && !from.startsWith("cli/serve/"));
  assert.deepEqual(entries.map((each) => `${show(each)} ${each.isLazy ? "late" : "at once"}`), [
    "cli/commands/serve.ts imports cli/serve/serve.ts late",
  ]);
});

test("Deno's own API is used by one file of the command line alone", () => {
  const users = files.filter((file) => /\bDeno\.[a-z]/.test(withoutComments(file)));
  assert.ok(users.length <= 1 && users.every((file) => file.startsWith("cli/")), users.join(", "));
});

test("time is read in the clock alone", () => {
  // The page runs in a browser, which has but its own.
  const users = files.filter((file) => file !== "cli/serve/page.ts")
    .filter((file) => /\b(Date\.now|performance\.now)\(/.test(withoutComments(file)));
  assert.deepEqual(users, ["src/time/clock.ts"]);
});

/** Returns what is loaded when `entry` is, itself included. */
function loadedBy(entry: string): string[] {
  const loaded = new Set([entry]);
  for (const file of loaded) {
    for (const { to } of imports.filter((each) => each.from === file && !each.isTypeOnly && !each.isLazy)) {
      loaded.add(to);
    }
  }
  return [...loaded];
}

/** The packages of `elect serve`. */
function isServer(from: string, to: string): boolean {
  return from === "cli/serve/packages.ts" &&
    /^(npm:)?(hono|@hono\/node-server|prom-client)(@\^\d+)?(\/accepts)?$/.test(to);
}

/** OpenTelemetry is imported only once an application has set it up. */
function isTelemetry(from: string, to: string): boolean {
  return from === "src/telemetry/opentelemetry.ts" && /^(npm:)?@opentelemetry\/api(@1)?$/.test(to);
}

function mayImport(from: string, to: string): boolean {
  const [part = ""] = from.split("/");
  // What several providers need stands in the kit.
  if (part === "providers") {
    return /^(src\/|providers\/(kit\/|catalog\.ts$))/.test(to) || to.startsWith(`providers/${ownerOf(from)}/`);
  }
  return (ALLOWED[part] ?? []).some((pattern) => pattern.test(to));
}

/** The provider that a file of `providers/` belongs to. */
function ownerOf(file: string): string {
  return (file.split("/")[1] ?? "").replace(/\.ts$/, "");
}

function filesIn(directory: string): string[] {
  return readdirSync(new URL(`${directory}/`, root), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => `${directory}/${file.replaceAll("\\", "/")}`)
    .sort();
}

function importsOf(from: string): Import[] {
  const source = withoutComments(from);
  const found: Import[] = [];
  for (const [, type, specifier = ""] of source.matchAll(/^(?:import|export) (type )?(?:[^;"']*? from )?"([^"]+)"/gm)) {
    found.push({ from, to: resolve(from, specifier), isTypeOnly: type !== undefined, isLazy: false });
  }
  for (const [, specifier = ""] of source.matchAll(/\bimport\("([^"]+)"\)/g)) {
    found.push({ from, to: resolve(from, specifier), isTypeOnly: false, isLazy: true });
  }
  return found;
}

function resolve(from: string, specifier: string): string {
  return specifier.startsWith(".") ? new URL(specifier, new URL(from, root)).href.slice(root.href.length) : specifier;
}

function withoutComments(file: string): string {
  return readFileSync(new URL(file, root), "utf8").replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
}

function show({ from, to }: Import): string {
  return `${from} imports ${to}`;
}
