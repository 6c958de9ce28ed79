/** Applies mutants to copies of the sources, and lets the simulation find them. */

import { fileURLToPath, pathToFileURL } from "node:url";
import { inParallel, runInThread } from "../simulation/threads.ts";
import type { Mutant } from "./mutants.ts";

const ROOT = new URL("../../", import.meta.url);
/** What a simulation is made of. */
const SOURCES = ["src", "providers/memory.ts", "providers/catalog.ts", "providers/kit", "tests/simulation"];

/** What became of a mutant. */
export interface MutantReport {
  readonly mutant: Mutant;
  /** The property that it violated first; null if it survived. */
  readonly property: string | null;
  /** What was seen, or why nothing was. */
  readonly what: string;
  /** How many seeds it took. */
  readonly seeds: number;
  /** How many seeds until two participants led at the same instant, where that was looked for. */
  readonly overlap: number | null;
}

/** Lets the simulation look for each mutant, in at most `mostSeeds` seeds. */
export function hunt(mutants: readonly Mutant[], mostSeeds: number): Promise<MutantReport[]> {
  return inParallel(mutants, async (mutant) => {
    const copy = await Deno.makeTempDir({ prefix: "mutant-" });
    try {
      for (const source of SOURCES) await copyAll(fileURLToPath(new URL(source, ROOT)), `${copy}/${source}`);
      await apply(mutant, copy);
      const root = `${pathToFileURL(copy)}/`;
      const job = { root, from: 1, count: mostSeeds, untilOverlap: mutant.overlaps ?? false };
      const { failure, overlap } = await runInThread(job, 900_000);
      const { property = null, what = "not found", seed = mostSeeds } = failure ?? {};
      return { mutant, property, what, seeds: seed, overlap };
    } catch (error) {
      return { mutant, property: null, what: String(error), seeds: 0, overlap: null };
    } finally {
      await Deno.remove(copy, { recursive: true });
    }
  });
}

/**
 * A refactoring that moves what a mutant replaces must move the mutant too: anything but one occurrence is an error.
 */
async function apply({ name, file, find, replace }: Mutant, root: string): Promise<void> {
  const path = `${root}/${file}`;
  const parts = (await Deno.readTextFile(path)).split(find);
  if (parts.length !== 2) {
    throw new Error(`Cannot apply mutant "${name}": its text stands in ${file} ${parts.length - 1} times, not once`);
  }
  await Deno.writeTextFile(path, parts.join(replace));
}

async function copyAll(from: string, to: string): Promise<void> {
  if ((await Deno.stat(from)).isFile) {
    await Deno.mkdir(to.slice(0, to.lastIndexOf("/")), { recursive: true });
    return await Deno.copyFile(from, to);
  }
  await Deno.mkdir(to, { recursive: true });
  for await (const { name } of Deno.readDir(from)) await copyAll(`${from}/${name}`, `${to}/${name}`);
}
