/** The lists of mutants: one file in `providers/` for each provider, and one each for the core and the command line. */

import { readdirSync } from "node:fs";
import type { ProviderMutant } from "./provider_mutant.ts";

const DIRECTORY = new URL("providers/", import.meta.url);

/** Returns the names of all lists, such as `redis` and `azure-blob`. */
export function listNames(): string[] {
  const files = readdirSync(DIRECTORY).filter((file) => file.endsWith(".ts"));
  return files.map((file) => file.slice(0, -".ts".length).replaceAll("_", "-")).sort();
}

/**
 * Returns the list `name`.
 *
 * @throws {TypeError} if there is none, or its file exports none
 */
export async function loadList(name: string): Promise<readonly ProviderMutant[]> {
  if (!listNames().includes(name)) {
    throw new TypeError(`Cannot plant mutants "${name}": there are lists for ${listNames().join(", ")}`);
  }
  const file = `${name.replaceAll("-", "_")}.ts`;
  const { MUTANTS }: { MUTANTS?: readonly ProviderMutant[] } = await import(new URL(file, DIRECTORY).href);
  if (MUTANTS === undefined) throw new TypeError(`Cannot plant mutants "${name}": ${file} exports no MUTANTS`);
  return MUTANTS;
}

/** Draws `count` of `mutants`, the same ones for the same seed. */
export function draw(mutants: readonly ProviderMutant[], count: number, seed: number): ProviderMutant[] {
  const left = [...mutants];
  const drawn: ProviderMutant[] = [];
  let state = seed >>> 0;
  while (drawn.length < count && left.length > 0) {
    // A linear congruential generator; its upper bits are the better ones.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    drawn.push(...left.splice(Math.floor(state / 2 ** 32 * left.length), 1));
  }
  return drawn;
}
