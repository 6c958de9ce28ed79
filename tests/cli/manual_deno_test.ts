/** The manual page of `elect`. */

import assert from "node:assert/strict";
import { COMMANDS } from "../../cli/commands.ts";
import { OPTIONS } from "../../cli/options.ts";
import { aptInstall, findProgram, run } from "../servers/process.ts";
import { elect, temporary } from "./elect.ts";

Deno.test("elect manual prints a page that groff sets without a warning, with every command and option", async () => {
  if (await findProgram("groff") === null) await aptInstall("groff-base");
  await using place = await temporary();
  const page = `${place.path}/elect.1`;
  await Deno.writeTextFile(page, (await elect(["manual"])).stdout);
  const typeset = "groff -man -Tutf8 -ww -P-cbou";
  assert.equal(await run("sh", ["-c", `${typeset} "$0" 2>&1 >/dev/null`, page]), "");
  // Hyphenation off, so that words are found as they are written.
  const text = await run("sh", ["-c", `(echo .nh; cat "$0") | ${typeset} -rHY=0 -rLL=200n`, page]);
  for (const { name, summary } of COMMANDS) {
    assert.match(text, new RegExp(`^ +elect ${name}( .*)?$`, "m"));
    assert.ok(text.replace(/\s+/g, " ").includes(summary.replace(/\s+/g, " ")), summary);
  }
  for (const option of Object.keys(OPTIONS)) assert.match(text, new RegExp(`--${option}\\b`));
  for (const section of ["EXIT STATUS", "ENVIRONMENT", "SYNOPSIS"]) assert.match(text, new RegExp(`^${section}$`, "m"));
});
