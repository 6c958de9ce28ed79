/** Every list of mutants must fit the sources as they are; that each is killed is measured by `deno task mutants`. */

import { deepEqual, equal, match, notEqual, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import type { AttackReport } from "./attack.ts";
import { changed } from "./checkout.ts";
import { draw, listNames, loadList } from "./lists.ts";
import type { ProviderMutant } from "./provider_mutant.ts";
import { withTable } from "./table.ts";

const ROOT = new URL("../../", import.meta.url);

for (const list of listNames()) {
  test(`mutants of ${list} change what is there exactly once, and name tests that are there`, async () => {
    const mutants = await loadList(list);
    notEqual(mutants.length, 0);
    equal(new Set(mutants.map(({ name }) => name)).size, mutants.length, "two have the same name");
    for (const mutant of mutants) {
      const source = await Deno.readTextFile(new URL(mutant.file, ROOT));
      notEqual(changed(mutant, source), source, `"${mutant.name}" changes nothing`);
      match(mutant.test.file, /^tests\/.*_test\.ts$/);
      ok((await Deno.stat(new URL(mutant.test.file, ROOT))).isFile);
    }
  });
}

const SAMPLE: ProviderMutant = { name: "m", file: "f.ts", find: "a", replace: "b", test: { file: "f_test.ts" } };

test("changed() throws, when the text is not there exactly once", () => {
  equal(changed(SAMPLE, "cat"), "cbt");
  throws(() => changed(SAMPLE, "dog"), /"m": its text stands in f.ts 0 times, not once/);
  throws(() => changed(SAMPLE, "cat and cat"), /stands in f.ts 3 times, not once/);
});

test("draw() draws the same mutants for the same seed, each once, and every one for some seed", () => {
  const mutants = Array.from({ length: 9 }, (_, i) => ({ ...SAMPLE, name: String(i) }));
  deepEqual(draw(mutants, 3, 5), draw(mutants, 3, 5));
  equal(new Set(draw(mutants, 20, 1)).size, 9);
  const seen = new Set(Array.from({ length: 200 }, (_, seed) => draw(mutants, 2, seed * 7_919)).flat());
  equal(seen.size, 9);
});

test("withTable() puts the table of a list in its place, and leaves the others", () => {
  const report: AttackReport = { mutant: SAMPLE, verdict: "killed", by: "a | b", tookMs: 1 };
  const empty = "before\n\n<!-- end of provider mutants -->\n\nafter\n";
  const three = ["redis", "core", "file"].reduce((text, name) => withTable(text, name, [report]), empty);
  deepEqual([...three.matchAll(/mutants of ([a-z]+)/g)].map(([, name]) => name), ["core", "file", "redis"]);
  match(three, /\| m \| `f.ts` \| a \\\| b \|/);
  const again = withTable(three, "file", [{ ...report, verdict: "survived", by: "" }]);
  match(again, /\*\*file\*\*: 0 of 1 killed\.[^#]*\| \*\*survived\*\* \|\n\n<!-- mutants of redis/);
  equal(withTable(again, "file", [report]), three);
});
