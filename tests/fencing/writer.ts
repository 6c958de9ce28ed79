/**
 * A process that leads and writes, for the tests of fences.
 *
 *     writer.ts late STORE URL RESOURCE guarded|bare PROVIDER VALUE
 *     writer.ts race STORE URL TOKEN COUNT
 *
 * `late` leads, checks its term, and stands still between that check and its write until it is told a line: the
 * process reads it without giving anything else a chance to run. `race` sets the store up and writes COUNT resources.
 */

import { readSync } from "node:fs";
import process from "node:process";
import { elect } from "../../mod.ts";
import "../../providers/postgres.ts";
import "../../providers/redis.ts";
import { FencedError } from "../../fencing/mod.ts";
import { STORES } from "./stores.ts";

const [, , mode = "", kind = "", url = "", ...rest] = process.argv;
const store = await STORES[kind]?.(url);
if (store === undefined) throw new TypeError(`Cannot write to "${kind}"`);

/** Waits for a line, and lets nothing else run meanwhile: no timer, no signal of a term that ends. */
function standStill(): void {
  const byte = new Uint8Array(1);
  for (;;) {
    try {
      if (readSync(0, byte) === 0 || byte[0] === 10) return;
    } catch (error) {
      if ((error as { code?: string }).code !== "EAGAIN") throw error;
    }
  }
}

async function writeAs(resource: string, token: bigint, value: string, isGuarded: boolean): Promise<string> {
  try {
    await store?.write(resource, token, value, isGuarded);
    return `written ${token}`;
  } catch (error) {
    if (!(error instanceof FencedError)) throw error;
    return `refused ${error.token} below ${error.highest}`;
  }
}

if (mode === "late") {
  const [resource = "", guard = "", provider = "", value = ""] = rest;
  const election = await elect(provider, { electionGroup: resource, heartbeatTimeout: "1s", logger: null });
  const term = await election.waitForLeadership();
  term.assertValid();
  console.log(`checked ${term.token}`);
  standStill();
  console.log(await writeAs(resource, term.token, value, guard === "guarded"));
  await election.stop();
} else {
  const [token = "", count = ""] = rest;
  await store.setUp();
  for (let i = 0; i < Number(count); i++) {
    const outcome = await writeAs(`race-${i}`, BigInt(token), token, true);
    console.log(outcome);
  }
}
await store.close();
