/** That the measure notices others who want the processor. */

import { delay } from "@std/async";
import { ok } from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";

test("slowness() grows, when twice as many processes want the processor as there are cores", async () => {
  const burners = Array.from(
    { length: navigator.hardwareConcurrency * 2 },
    () => new Deno.Command(Deno.execPath(), { args: ["eval", "for (;;);"], stdout: "null", stderr: "null" }).spawn(),
  );
  try {
    // They take a moment to get going.
    await delay(1_000);
    const url = new URL("../testing/conformance/slowness.ts", import.meta.url).href;
    const ask = `const { slowness } = await import("${url}"); console.log(slowness());`;
    const { stdout } = await new Deno.Command(process.execPath, { args: ["eval", "--no-check", ask] }).output();
    const factor = Number(new TextDecoder().decode(stdout));
    ok(factor > 1.5, `${factor}`);
  } finally {
    for (const burner of burners) burner.kill("SIGKILL");
    await Promise.all(burners.map((burner) => burner.status));
  }
});
