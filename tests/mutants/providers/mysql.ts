/** Defects of the MySQL provider. */

import type { ProviderMutant } from "../provider_mutant.ts";

const STATEMENTS = "providers/mysql/statements.ts";

/** By test file: each a name, a file, what is replaced by what, and which tests must notice. */
const BY_TEST: Readonly<Record<string, readonly (readonly [string, string, string, string, string])[]>> = {
  "tests/providers/mysql_test.ts": [
    [
      "a token that stays the same",
      ...[STATEMENTS, "token, GREATEST(token + 1, ${NOW})),", "token, token),"] as const,
      "token grows",
    ],
  ],
};

/** Each must be noticed by the tests of the provider. */
export const MUTANTS: readonly ProviderMutant[] = Object.entries(BY_TEST).flatMap(([test, mutants]) =>
  mutants.map(([name, file, find, replace, filter]) => ({ name, file, find, replace, test: { file: test, filter } }))
);
