/** Defects of the etcd provider. */

import type { ProviderMutant } from "../provider_mutant.ts";

export const MUTANTS: readonly ProviderMutant[] = [
  {
    name: "a key is deleted whatever revision created it",
    file: "providers/etcd/terms.ts",
    find: "compare: [isCreatedAt(key, term.token)], ",
    replace: "",
    test: { file: "tests/providers/etcd_terms_test.ts", filter: "deletes nothing" },
  },
];
