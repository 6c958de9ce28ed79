/** Defects of `memory:`. */

import type { MutantTest, ProviderMutant } from "../provider_mutant.ts";

/** Each must be noticed by the conformance suite. */
export const MUTANTS: readonly ProviderMutant[] = [
  mutant(
    "tokens start anew after a release",
    "group.held = null;",
    "group.held = null; group.token = 0n;",
    "token grows",
  ),
  mutant(
    "an expired lease can be renewed",
    "this.#expiresIn(held) > 0 ? held : null",
    "this.#expiresIn(held) > -100 ? held : null",
    "an expired term is over",
  ),
];

function mutant(name: string, find: string, replace: string, filter: string): ProviderMutant {
  const test: MutantTest = { file: "tests/providers/memory_test.ts", filter };
  return { name, file: "providers/memory.ts", find, replace, test };
}
