/** The embedded providers pass the conformance suite with exactly the permissions that the README names. */

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { EMBEDDED, PERMISSIONS } from "./permissions.ts";

for (const name of EMBEDDED) {
  Deno.test(`provider ${name} conforms, with no more than its permissions`, async () => {
    const directory = await Deno.makeTempDir({ prefix: "elect-permissions-" });
    try {
      const url = name === "memory"
        ? "memory:permissions"
        : `${name}${pathToFileURL(directory).href.slice("file".length)}/x`;
      const flags = (PERMISSIONS[name] ?? []).map((flag) => flag.replace("DIR", directory));
      const args = ["test", "--no-prompt", ...flags, "tests/embedded_conformance.ts", "--", url];
      const { success, stdout } = await new Deno.Command(Deno.execPath(), { args, env: { NO_COLOR: "1" } }).output();
      const output = new TextDecoder().decode(stdout);
      assert.ok(success, output);
      const [, passed = "0"] = /(\d+) passed/.exec(output) ?? [];
      assert.ok(Number(passed) > 30, output);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  });
}
