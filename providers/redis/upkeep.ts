/**
 * What is asked of servers beside leases: whether they are fit for them, and which groups they know. Each goes over a
 * connection of its own, so that no heartbeat waits behind it.
 *
 * @module
 */

import { type Link, messageOf } from "./link.ts";
import type { Router } from "./router.ts";
import { PROBE } from "./scripts.ts";
import { slotOf } from "./slots.ts";
import { format } from "./target.ts";

/**
 * How many keys the server looks at in one step: enough for millions in a few seconds, and so few that a step takes it
 * milliseconds, for it does nothing else meanwhile.
 */
const KEYS_A_STEP = 10_000;

/**
 * Walks over all keys of the database, in steps, on each primary.
 *
 * @throws {Error} how far it has come, when `signal` aborts
 */
export async function listGroups(router: Router, prefix: string, signal: AbortSignal): Promise<string[]> {
  const pattern = `${prefix.replace(/[\\*?[\]]/g, "\\$&")}{*}:token`;
  const found = new Set<string>();
  await onEachPrimary(router, signal, async (link) => {
    let cursor = "0";
    do {
      signal.throwIfAborted();
      const step = await link.send("SCAN", cursor, "MATCH", pattern, "COUNT", KEYS_A_STEP) as [string, string[]];
      for (const key of step[1]) found.add(key.slice(prefix.length + 1, -"}:token".length));
      cursor = String(step[0]);
    } while (cursor !== "0");
  });
  return [...found];
}

/**
 * Logs in anew to each primary, and tries all that elections need there.
 *
 * @throws {Error} what is refused, or what would lose leases
 */
export async function checkServers(router: Router, prefix: string, signal: AbortSignal): Promise<void> {
  await onEachPrimary(router, signal, async (link, isCluster) => {
    const at = isCluster ? ` at ${format(link.address)}` : "";
    const probe = await probeKey(router, prefix, link);
    const problems = await link.send(
      "EVAL",
      PROBE.lua,
      2,
      `${probe}-1`,
      `${probe}-2`,
      `${prefix}{}:released`,
    ) as string[];
    if (problems.length > 0) throw new Error(`${problems.join("; ")}${at}`);
    await checkMemory(link);
    // Last, for nothing else can be asked after it. Those who may not listen would wait for hints that do not come.
    for (const command of ["subscribe", "unsubscribe"]) {
      await link.send(command, `${prefix}{}:released`).catch((error: unknown) => {
        throw new Error(`${command}: ${messageOf(error)}${at}`, { cause: error });
      });
    }
  });
}

/** Keys without an expiry are evicted by the policies of all keys alone. */
async function checkMemory(link: Link): Promise<void> {
  // Who may not ask for information may still lead.
  const memory = await link.send("INFO", "memory").then(String, () => "");
  const [, limit] = /^maxmemory:(\d+)/m.exec(memory) ?? [];
  const [, policy = "noeviction"] = /^maxmemory_policy:(\S+)/m.exec(memory) ?? [];
  if (limit !== undefined && limit !== "0" && policy.startsWith("allkeys-")) {
    throw new Error(`the server may evict leases: its maxmemory-policy is "${policy}", and must be "noeviction"`);
  }
}

/** Returns a key that nobody uses and that the server of `link` has. */
async function probeKey(router: Router, prefix: string, link: Link): Promise<string> {
  const owners = await router.owners();
  // One of so many falls among its slots, unless they have been taken from it meanwhile.
  for (let tries = 0; tries < 100_000; tries++) {
    const key = `${prefix}{probe-${crypto.randomUUID()}}`;
    if (owners === null || owners[slotOf(key)] === format(link.address)) return key;
  }
  throw new Error(`${format(link.address)} has no slots any more`);
}

async function onEachPrimary(
  router: Router,
  signal: AbortSignal,
  work: (link: Link, isCluster: boolean) => Promise<void>,
): Promise<void> {
  const primaries = await router.primaries();
  for (const address of primaries) {
    signal.throwIfAborted();
    const link = await router.open(address);
    const onAbort = () => link.close(signal.reason);
    signal.addEventListener("abort", onAbort);
    try {
      await work(link, primaries.length > 1);
    } finally {
      signal.removeEventListener("abort", onAbort);
      link.close(null);
    }
  }
}
