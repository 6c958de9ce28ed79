/**
 * The questions to servers beside leases: whether they are fit for them, and which groups they know. Each goes over a
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
 * The number of members or keys that the server looks at in one step: so few that it takes milliseconds, for it does
 * nothing else meanwhile.
 */
const A_STEP = 10_000;

/**
 * Lists the groups: by the set of their names, or, where there is none, by a walk over all keys of each primary.
 *
 * @param set the key of the set; null in a cluster, where no script may write to a second slot
 */
export async function listGroups(
  router: Router,
  prefix: string,
  set: string | null,
  signal: AbortSignal,
): Promise<string[]> {
  const found = new Set<string>();
  const pattern = `${prefix.replace(/[\\*?[\]]/g, "\\$&")}{*}:token`;
  await onEachPrimary(router, signal, async (link) => {
    if (set !== null) await walk(link, ["SSCAN", set], [], signal, (group) => found.add(group));
    else {
      await walk(link, ["SCAN"], ["MATCH", pattern], signal, (key) => {
        found.add(key.slice(prefix.length + 1, -"}:token".length));
      });
    }
  });
  return [...found];
}

/** Takes every step of a command that answers in steps. */
async function walk(
  link: Link,
  [command = "", ...before]: string[],
  after: string[],
  signal: AbortSignal,
  take: (item: string) => void,
): Promise<void> {
  let cursor = "0";
  do {
    signal.throwIfAborted();
    const step = await link.send(command, ...before, cursor, ...after, "COUNT", A_STEP) as [string, string[]];
    for (const item of step[1]) take(String(item));
    cursor = String(step[0]);
  } while (cursor !== "0");
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
    const keys = [1, 2, 3].map((number) => `${probe}-${number}`);
    const problems = await link.send("EVAL", PROBE.lua, keys.length, ...keys, `${prefix}{}:released`) as string[];
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
  // A user that may not ask for information may still lead.
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

/** Runs `work` with a connection of its own to each primary. */
export async function onEachPrimary(
  router: Router,
  signal: AbortSignal,
  work: (link: Link, isCluster: boolean) => Promise<void>,
): Promise<void> {
  const primaries = await router.primaries();
  await Promise.all(primaries.map(async (address) => {
    signal.throwIfAborted();
    const link = await router.open(address);
    const onAbort = () => link.close(signal.reason);
    signal.addEventListener("abort", onAbort);
    try {
      // It may have been given up while the connection was made: then nothing is sent.
      signal.throwIfAborted();
      await work(link, primaries.length > 1);
    } finally {
      signal.removeEventListener("abort", onAbort);
      link.close(null);
    }
  }));
}
