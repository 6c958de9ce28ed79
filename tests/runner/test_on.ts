/** Tests that need a runtime beside the one that runs them. */

import { oldestNode, programOf, type Runtime } from "./runtimes.ts";

/** Where the program of each runtime comes from; found once, since to ask npm for it takes a second. */
const FINDERS = {
  bun: once(() => programOf("bun")),
  node: once(() => programOf("node")),
  "the oldest node": once(oldestNode),
};

/** A runtime that the package runs on beside Deno. */
export type Guest = keyof typeof FINDERS;

/** All of them. */
export const GUESTS = Object.keys(FINDERS) as Guest[];

/**
 * Runs `body` as a test, with a program of `guest`. Where none can be had the test does nothing and says so, unless
 * `ELECT_REQUIRE_RUNTIMES` requires it.
 */
export function testOn(guest: Guest, name: string, body: (program: string) => Promise<void>): void {
  Deno.test(`${name}, on ${guest}`, async () => {
    let program: string;
    try {
      program = await FINDERS[guest]();
    } catch (error) {
      if (isRequired(guest === "the oldest node" ? "node" : guest)) throw error;
      return console.log(`skipped: there is no ${guest}: ${error}`);
    }
    await body(program);
  });
}

/** Returns whether a test may not be left out for want of a runtime. */
export function isRequired(runtime: Runtime): boolean {
  return (Deno.env.get("ELECT_REQUIRE_RUNTIMES") ?? "").split(",").map((each) => each.trim()).includes(runtime);
}

function once(find: () => Promise<string>): () => Promise<string> {
  let found: Promise<string> | undefined;
  return () => found ??= find();
}
