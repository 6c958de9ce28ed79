/** Packages are installed though somebody else installs some at the same time. */

import assert from "node:assert/strict";
import { execute } from "./command.ts";

Deno.test("aptInstall() waits for the locks of others, and for no other failure", async () => {
  if (Deno.uid() !== 0) return console.log("skipped: only root installs packages");
  const directory = await Deno.makeTempDir({ prefix: "elect-test-apt-" });
  try {
    // Finds the lock on the lists of packages taken, as `apt-get update` does, twice; then notes what it was asked for.
    await Deno.writeTextFile(
      `${directory}/apt-get`,
      `#!/bin/sh
echo x >> "${directory}/calls"
case "$*" in *no-such-package*) echo "E: Unable to locate package" >&2; exit 100;; esac
if [ "$(wc -l < "${directory}/calls")" -le 2 ]; then
  echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)" >&2
  exit 100
fi
echo "$*" >> "${directory}/asked"
`,
      { mode: 0o755 },
    );
    const install = (name: string) => {
      const module = new URL("../servers/process.ts", import.meta.url).href;
      const script = `const { aptInstall } = await import("${module}"); await aptInstall("${name}");`;
      const env = { PATH: `${directory}:${Deno.env.get("PATH")}`, ELECT_TEST_INSTALL: "1" };
      return execute({ argv: [Deno.execPath(), "eval", script], env });
    };
    const { ok, output } = await install("some-package");
    assert.ok(ok, output);
    const asked = (await Deno.readTextFile(`${directory}/asked`)).trim().split("\n");
    assert.deepEqual(asked.map((line) => /update|install .*some-package/.exec(line)?.[0].split(" ")[0]), [
      "update",
      "install",
    ]);
    // The lock of dpkg itself is waited for by apt.
    for (const line of asked) assert.match(line, /-o DPkg::Lock::Timeout=\d{2,}/);

    const refused = await install("no-such-package");
    assert.ok(!refused.ok);
    assert.match(refused.output, /Cannot install Debian package "no-such-package": .*Unable to locate/s);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
