/** What the tests of the file provider share. */

import { mkdtemp, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { type Files, nodeFiles } from "../../../providers/file/directory.ts";

export { LEASE_MS, lose, request, soon, win } from "../asking.ts";

/** Makes a directory that is removed after the tests of a file; returns how to name new ones in it. */
export async function newRoots(name: string): Promise<() => string> {
  const parent = await mkdtemp(join(tmpdir(), `elect-${name}-`));
  after(() => rm(parent, { recursive: true, force: true }));
  return () => join(parent, crypto.randomUUID());
}

/** Rewrites the record of a term, as only a test does. */
export async function rewrite(path: string, change: (record: Record<string, unknown>) => void): Promise<void> {
  const { mtime } = await stat(path);
  const record = JSON.parse(await readFile(path, "utf8"));
  change(record);
  await writeFile(path, JSON.stringify(record));
  await utimes(path, mtime, mtime);
}

/** A call to the file system, as far as a test cares. */
export type Call = (path: string, ...rest: unknown[]) => Promise<unknown>;

/** The real file system, with some calls changed: each change is given the real call. */
export function filesWith(changes: { readonly [N in keyof Files]?: (call: Call) => Call }): Files {
  const calls = Object.entries(nodeFiles).map(([name, call]) => {
    return [name, changes[name as keyof Files]?.(call as Call) ?? call];
  });
  return Object.fromEntries(calls);
}

/** The failure with which the kernel refuses a call. */
export function refusal(code: string): Error {
  return Object.assign(new Error(`${code}: as the kernel says`), { code });
}
