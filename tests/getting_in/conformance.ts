/**
 * The conformance suite on embedded providers, under the public names, on any runtime: from a checkout, or where the
 * package is installed. Targets are the arguments, and are tested at the same time, since cases mostly wait.
 *
 * @module
 */

import process from "node:process";
import { openProvider } from "@multilock/core";
import "@multilock/core/sqlite";
import { conformanceCases } from "@multilock/core/testing";

let passed = 0;
const failures: string[] = [];

await Promise.all(
  process.argv.slice(2).map(async (url) => {
    const name = url.slice(0, url.indexOf(":"));
    for (const { name: title, run } of conformanceCases({ name, open: (options) => openProvider(url, options) })) {
      await run().then(() => passed++, (error: unknown) => failures.push(`${name}: ${title}: ${error}`));
    }
  }),
);
console.log(`${passed} passed, ${failures.length} failed`);
for (const failure of failures) console.log(failure);
if (failures.length > 0) process.exitCode = 1;
