/** What every fence must do, with real processes and a real store: see `stores.ts`. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { FencedError } from "../../fencing/mod.ts";
import { patience } from "../slowness.ts";
import { type Store, STORES } from "./stores.ts";

/** What the cases need to know of a store. */
export interface FenceTarget {
  /** Its kind, as `STORES` has it. */
  readonly kind: string;
  /** Where it is. */
  readonly url: string;
  /** Where its leaders are elected; a directory if it is not given. */
  readonly provider?: string;
  /** Whether a fence whose table is missing says so. */
  readonly hasTable: boolean;
}

/** One case. */
export interface FenceCase {
  readonly name: string;
  run(): Promise<void>;
}

/** Returns the cases of a store. */
export function fenceCases(target: FenceTarget): FenceCase[] {
  const { kind } = target;
  const on = (what: string, body: (store: Store) => Promise<void>): FenceCase => ({
    name: `${kind} fence: ${what}`,
    async run() {
      const store = await openStore(target);
      try {
        await store.setUp();
        await body(store);
      } finally {
        await store.close();
      }
    },
  });
  return [
    on(
      "a leader that was stopped between its last check and its write is refused",
      (store) => writesLate(target, store, true),
    ),
    on(
      "without it, the same leader's write comes late, over that of its successor",
      (store) => writesLate(target, store, false),
    ),
    { name: `${kind} fence: two processes use it first at once`, run: () => firstUse(target) },
    on("tokens beyond 2^53 are told apart", largeTokens),
    on("each of many resources has tokens of its own", manyResources),
    on("a guard that was lost refuses nothing until it has seen a token", (store) => lostGuard(target, store)),
    on("a term writes any number of times", sameToken),
  ];
}

async function openStore({ kind, url }: FenceTarget): Promise<Store> {
  const store = await STORES[kind]?.(url);
  assert.ok(store, `there is no store ${kind}`);
  return store;
}

let count = 0;

/** A resource, and group, that nobody has used. */
function fresh(what: string): string {
  return `${what}-${process.pid}-${Date.now()}-${count++}`;
}

async function writesLate(target: FenceTarget, store: Store, isGuarded: boolean): Promise<void> {
  const resource = fresh("late");
  const directory = await mkdtemp(join(tmpdir(), "elect-fence-"));
  const provider = target.provider ?? pathToFileURL(directory).href;
  const arguments_ = (
    value: string,
  ) => ["late", target.kind, target.url, resource, isGuarded ? "guarded" : "bare", provider, value];
  const first = new Writer(arguments_("first"));
  let successor: Writer | undefined;
  try {
    const [, early = ""] = await first.said(/^checked (\d+)$/m);
    // Between its check and its write, for as long as it takes.
    first.kill("SIGSTOP");
    successor = new Writer(arguments_("second"));
    const [, later = ""] = await successor.said(/^checked (\d+)$/m);
    assert.ok(BigInt(later) > BigInt(early));
    successor.tell();
    await successor.said(new RegExp(`^written ${later}$`, "m"));
    assert.equal(await store.read(resource), "second");
    first.kill("SIGCONT");
    first.tell();
    const [outcome] = await first.said(/^(written|refused) .*$/m);
    assert.equal(outcome, isGuarded ? `refused ${early} below ${later}` : `written ${early}`);
    assert.equal(await store.read(resource), isGuarded ? "second" : "first");
  } finally {
    await Promise.all([first.end(), successor?.end()]);
    await rm(directory, { recursive: true, force: true });
  }
}

/** Each sets up, and writes the same resources in the same order, one under token 1 and one under token 2. */
async function firstUse(target: FenceTarget): Promise<void> {
  const resources = 20;
  const writers = ["1", "2"].map((token) => new Writer(["race", target.kind, target.url, token, String(resources)]));
  try {
    await Promise.all(writers.map((writer) => writer.ended()));
  } finally {
    await Promise.all(writers.map((writer) => writer.end()));
  }
  const [lower = "", higher = ""] = writers.map(({ output }) => output);
  assert.equal(higher.match(/^written 2$/gm)?.length, resources, higher);
  assert.equal(lower.match(/^(written 1|refused 1 below 2)$/gm)?.length, resources, lower);
  const store = await openStore(target);
  try {
    for (let i = 0; i < resources; i++) assert.equal(await store.read(`race-${i}`), "2");
  } finally {
    await store.close();
  }
}

async function largeTokens(store: Store): Promise<void> {
  const resource = fresh("large");
  const refused = async (token: bigint, highest: bigint) => {
    await assert.rejects(store.write(resource, token, "too late", true), (error) => {
      assert.ok(error instanceof FencedError);
      assert.deepEqual([error.token, error.highest], [token, highest]);
      return true;
    });
  };
  // As numbers of JavaScript or Lua, the first two are the same.
  for (const highest of [2n ** 53n + 1n, 2n ** 62n + 1n, 2n ** 63n - 1n]) {
    await store.write(resource, highest, String(highest), true);
    await refused(highest - 1n, highest);
    await refused(9n, highest);
    assert.equal(await store.read(resource), String(highest));
  }
}

async function manyResources(store: Store): Promise<void> {
  const names = Array.from({ length: 60 }, (_, i) => fresh(`many.${i} of/them`));
  for (const [i, name] of names.entries()) await store.write(name, BigInt(i + 10), `first ${i}`, true);
  for (const [i, name] of names.entries()) {
    await assert.rejects(store.write(name, BigInt(i + 9), "too late", true), FencedError);
    assert.equal(await store.read(name), `first ${i}`);
  }
  // Names that some stores take for one.
  const lower = fresh("case");
  await store.admit(lower, 9n);
  await store.admit(lower.replace("case", "CASE"), 3n);
}

async function lostGuard({ hasTable }: FenceTarget, store: Store): Promise<void> {
  const resource = fresh("lost");
  await store.write(resource, 7n, "seven", true);
  await assert.rejects(store.write(resource, 6n, "six", true), FencedError);
  await store.loseGuard(resource);
  if (hasTable) {
    await assert.rejects(store.write(resource, 8n, "eight", true), /there is no table .*; call createTable\(\) once/);
    assert.equal(await store.read(resource), "seven");
    await store.setUp();
  }
  // This is what it means to be lost.
  await store.write(resource, 2n, "two", true);
  assert.equal(await store.read(resource), "two");
  await assert.rejects(store.write(resource, 1n, "one", true), FencedError);
}

async function sameToken(store: Store): Promise<void> {
  const resource = fresh("same");
  await store.admit(resource, 4n);
  for (let i = 0; i < 5; i++) await store.write(resource, 4n, `write ${i}`, true);
  assert.equal(await store.read(resource), "write 4");
  await store.admit(resource, 5n);
  await assert.rejects(store.write(resource, 4n, "too late", true), FencedError);
  await assert.rejects(store.admit(resource, 4n), FencedError);
}

const WRITER = fileURLToPath(new URL("writer.ts", import.meta.url));
const CONFIG = fileURLToPath(new URL("../../deno.json", import.meta.url));

/** A process of `writer.ts`. */
class Writer {
  readonly #child: ChildProcess;
  readonly #exited: Promise<unknown>;
  output = "";

  constructor(args: readonly string[]) {
    const isDeno = "Deno" in globalThis;
    const flags = isDeno ? ["run", "-A", "--quiet", "--no-check", `--config=${CONFIG}`] : [];
    this.#child = spawn(process.execPath, [...flags, WRITER, ...args], { stdio: ["pipe", "pipe", "pipe"] });
    this.#exited = once(this.#child, "exit");
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => this.output += text);
    }
    this.#child.stdin?.on("error", () => {});
  }

  /** By its id: one of the runtimes sends no second signal to a child. */
  kill(signal: NodeJS.Signals): void {
    if (this.#child.pid !== undefined && !this.#hasEnded) process.kill(this.#child.pid, signal);
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** Lets it go on. */
  tell(): void {
    this.#child.stdin?.write("\n");
  }

  async said(pattern: RegExp): Promise<RegExpExecArray> {
    for (const end = Date.now() + patience(60_000); Date.now() < end;) {
      const hasEnded = this.#hasEnded;
      const match = pattern.exec(this.output);
      if (match !== null) return match;
      if (hasEnded) break;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`Waited in vain for ${pattern}; it said: ${this.output}`);
  }

  /** Waits for its end, which must be a good one. */
  async ended(): Promise<void> {
    await this.#exited;
    assert.equal(this.#child.exitCode, 0, this.output);
  }

  async end(): Promise<void> {
    this.kill("SIGKILL");
    if (!this.#hasEnded) await this.#exited;
  }
}
