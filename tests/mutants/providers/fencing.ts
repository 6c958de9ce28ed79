/** Defects of fences, which their tests must notice without a server. */

import type { ProviderMutant } from "../provider_mutant.ts";

const [UNIT, EMBEDDED] = ["tests/fencing/fence_test.ts", "tests/fencing/embedded_test.ts"];

/** A change, and the tests that must notice it. */
type Change = readonly [name: string, file: string, find: string, replace: string, test: string, filter: string];

const CHANGES: readonly Change[] = [
  ["memory admits a lower token", "memory.ts", "token < highest", "token < 0n", UNIT, "memoryFence"],
  ["memory refuses the same token", "memory.ts", "token < highest", "token <= highest", UNIT, "memoryFence"],
  [
    "memory forgets the highest token",
    "memory.ts",
    "    this.#highest.set(resource, token);\n",
    "",
    UNIT,
    "memoryFence",
  ],
  ["tokens that are numbers", "fence.ts", 'typeof token !== "bigint"', 'typeof token === "string"', UNIT, "malformed"],
  ["tokens that no store can keep", "fence.ts", "|| token > MAX_TOKEN", "", UNIT, "malformed"],
  ["resources that some stores take for one", "fence.ts", "[\\x21-\\x7e])?$/", "[\\x20-\\x7e])?$/", UNIT, "malformed"],
  ["a row without a token admits", "fence.ts", 'typeof highest !== "string" || ', "false && ", UNIT, "holds no token"],
  [
    "a higher token in the row is not noticed",
    "fence.ts",
    "BigInt(highest) > token",
    "BigInt(highest) < 0n",
    EMBEDDED,
    "sqlite fence: tokens",
  ],
  [
    "SQLite keeps the last token, not the highest",
    "sqlite.ts",
    "token = max(fence.token, excluded.token)",
    "token = excluded.token",
    EMBEDDED,
    "sqlite fence: tokens",
  ],
  [
    "SQLite's tokens pass through a double",
    "sqlite.ts",
    "CAST(token AS TEXT)",
    "CAST(CAST(token AS REAL) AS TEXT)",
    EMBEDDED,
    "sqlite fence: tokens",
  ],
  [
    "SQLite outside of a transaction",
    "sqlite.ts",
    "this.#inTransaction && !isInTransaction",
    "false",
    UNIT,
    "in no transaction",
  ],
  ["PostgreSQL outside of a transaction", "postgres.ts", '?.() === "I"', '?.() === "X"', UNIT, "in no transaction"],
  ["a pool of PostgreSQL", "postgres.ts", '"totalCount" in client', '"none" in client', UNIT, "options of fences"],
  [
    "a missing table is not explained",
    "sql.ts",
    "if (!isMissing) return error;",
    "if (isMissing) return error;",
    EMBEDDED,
    "sqlite fence: a guard that was lost",
  ],
  [
    "a token that is too low is handled",
    "handler.ts",
    "      await fence.admit(resource, token, { signal: request.signal });\n",
    "",
    UNIT,
    "answers 428",
  ],
  [
    "a token of more digits than there are",
    "handler.ts",
    "if (token > MAX_TOKEN) {",
    "if (token < 0n) {",
    UNIT,
    "answers 428",
  ],
  [
    "an answer that hides what failed",
    "handler.ts",
    "if (!(error instanceof FencedError)) throw error;",
    "if (!(error instanceof FencedError)) return new Response();",
    UNIT,
    "goes on after a handler",
  ],
  [
    "a handler that fails keeps the others out",
    "handler.ts",
    "    } finally {\n      leave();\n    }",
    "    }",
    UNIT,
    "goes on after a handler",
  ],
  [
    "a client that gave up keeps the others out",
    "handler.ts",
    "      void entering.then((leaveLater) => leaveLater());\n",
    "",
    UNIT,
    "goes on after a handler",
  ],
  [
    "a higher token is let in while a handler runs",
    "turnstile.ts",
    "inside.size > 0 && !inside.has(highest)",
    "false",
    UNIT,
    "lets a handler end",
  ],
  [
    "a token of before is let in while a higher one waits",
    "turnstile.ts",
    "(token > most ? token : most), -1n",
    "(most < 0n || token < most ? token : most), -1n",
    UNIT,
    "lets a handler end",
  ],
  [
    "one that leaves makes room for none",
    "turnstile.ts",
    "      this.#admit(mine);\n      if",
    "      if",
    UNIT,
    "lets a handler end",
  ],
  [
    "the first to leave makes room for all",
    "turnstile.ts",
    "if (left > 0) mine.inside.set(token, left);",
    "if (left < 0) mine.inside.set(token, left);",
    UNIT,
    "lets a handler end",
  ],
];

/** Each must be noticed. */
export const MUTANTS: readonly ProviderMutant[] = CHANGES.map(([name, file, find, replace, test, filter]) => {
  return { name, file: `fencing/${file}`, find, replace, test: { file: test, filter } };
});
