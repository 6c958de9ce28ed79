import assert from "node:assert/strict";
import { execute } from "./runner/command.ts";

Deno.test("importing mod.ts leaves process alone on Deno, which makes it when it is asked for", async () => {
  const program = `
    Object.defineProperty(globalThis, "process", { get: () => { throw new Error("asked for process"); } });
    const { providers } = await import("./mod.ts");
    console.log(providers().map(({ name }) => name).sort().join());`;
  const { output } = await execute({ argv: [Deno.execPath(), "eval", "--quiet", "--no-check", program] });
  assert.equal(output.trim(), "file,memory");
});
