/**
 * The conformance suite on an embedded provider: `memory:NAME` or a URL of files, as the first argument. Run by
 * `permissions_deno_test.ts`.
 */

import process from "node:process";
import { test } from "node:test";
import { MODULES } from "../cli/modules.ts";
import { openProvider } from "../mod.ts";
import { conformanceCases, type ConformanceTarget } from "../testing/conformance.ts";

const url = process.argv.at(-1) ?? "";
await MODULES[url.slice(0, url.indexOf(":"))]?.();
const target: ConformanceTarget = {
  name: url.slice(0, url.indexOf(":")),
  open: (options) => openProvider(url, options),
};
for (const { name, run } of conformanceCases(target)) test(name, run);
