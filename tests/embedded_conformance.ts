/** The conformance suite on an embedded provider: `memory:NAME` or a `file:` URL, as the first argument. Run by `permissions_deno_test.ts`. */

import process from "node:process";
import { test } from "node:test";
import "../providers/file.ts";
import "../providers/memory.ts";
import { openProvider } from "../src/registry.ts";
import { conformanceCases, type ConformanceTarget } from "../testing/conformance.ts";

const url = process.argv.at(-1) ?? "";
const target: ConformanceTarget = {
  name: url.slice(0, url.indexOf(":")),
  open: (options) => openProvider(url, options),
};
for (const { name, run } of conformanceCases(target)) test(name, run);
