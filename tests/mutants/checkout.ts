/** A copy of the checkout in which one mutant at a time is planted. */

import { fileURLToPath } from "node:url";
import type { ProviderMutant } from "./provider_mutant.ts";

const ROOT = new URL("../../", import.meta.url);
/** What a copy does without, or shares. */
const LEFT_OUT = [".git", "node_modules"];

/** The copy. It shares the drivers with the checkout, and nothing else. */
export class Checkout implements AsyncDisposable {
  /** Where it is, ending with a slash. */
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  /** Copies the checkout into a temporary directory. */
  static async copy(): Promise<Checkout> {
    const root = await Deno.makeTempDir({ prefix: "elect-mutants-" });
    await copyAll(fileURLToPath(ROOT), `${root}/`);
    await Deno.symlink(fileURLToPath(new URL("node_modules", ROOT)), `${root}/node_modules`);
    return new Checkout(`${root}/`);
  }

  /** Plants a mutant. Returns what takes it out again. Throws if its text does not stand exactly once in its file. */
  async plant(mutant: ProviderMutant): Promise<() => Promise<void>> {
    const path = `${this.root}${mutant.file}`;
    const source = await Deno.readTextFile(path);
    await Deno.writeTextFile(path, changed(mutant, source));
    return () => Deno.writeTextFile(path, source);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.root, { recursive: true });
  }
}

/** Returns `source` with the mutant in it: a refactoring that moves what it replaces must move the mutant too. */
export function changed({ name, file, find, replace }: ProviderMutant, source: string): string {
  const parts = source.split(find);
  if (parts.length !== 2) {
    throw new Error(`Cannot plant "${name}": its text stands in ${file} ${parts.length - 1} times, not once`);
  }
  return parts.join(replace);
}

async function copyAll(from: string, to: string): Promise<void> {
  for await (const { name, isDirectory, isFile } of Deno.readDir(from)) {
    if (LEFT_OUT.includes(name)) continue;
    if (isFile) await Deno.copyFile(`${from}${name}`, `${to}${name}`);
    if (!isDirectory) continue;
    await Deno.mkdir(`${to}${name}`);
    await copyAll(`${from}${name}/`, `${to}${name}/`);
  }
}
