/**
 * Which addresses a host stands for, also where Deno may not look that up.
 *
 * With `--allow-net=HOST:PORT`, Deno looks up a name only within `connect`, and ends the process where that goes on
 * to an address which is not among its permissions. So a connection to a name of several addresses is ended as soon as
 * they are known, and each is tried by itself.
 *
 * @module
 */

import { lookup } from "node:dns/promises";
import { isIP, type Socket } from "node:net";

/** The host that a runtime is asked to connect to: an address, or a name. */
export interface Attempt {
  /** A name or an address. */
  readonly host: string;
  /** Of a name the first address of this family will do, IPv4 or IPv6: 4 or 6; with 0 any. */
  readonly family?: number | undefined;
}

/** A name has several addresses, and was given to the runtime as if it had one. */
class SeveralAddresses extends Error {
  override readonly name = "SeveralAddresses";
  readonly attempts: readonly Attempt[];

  constructor(host: string, found: readonly Required<Attempt>[]) {
    super(`"${host}" has several addresses`);
    // With the name alone permitted, its first address of each family can be had. The failure of the last one is told.
    const families = [...new Set(found.map(({ family }) => family))].map((family) => ({ host, family }));
    this.attempts = [...found.map((each) => ({ host: each.host })), ...families.reverse()];
  }
}

/** Returns the addresses of a name, each an attempt; where it may not be looked up, the name itself. */
export async function attemptsAt(host: string, family?: number): Promise<readonly Attempt[]> {
  if (isIP(host) !== 0) return [{ host }];
  try {
    const found = await lookup(host, { all: true, family: family ?? 0 });
    return [...new Set(found.map(({ address }) => address))].map((address) => ({ host: address }));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EPERM") return [{ host, family }];
    throw error;
  }
}

/** Returns what `connect` of `node:net` is told for an attempt. Watch over its socket with `endAtSeveral`. */
export function connectOptions(
  { host, family }: Attempt,
): { host: string; family?: number; autoSelectFamily: boolean } {
  // Only where the runtime would go on to a second address does it tell all of them.
  return { host, ...(family !== undefined && { family }), autoSelectFamily: isIP(host) === 0 && family === undefined };
}

/** Ends a socket that connects to `host`, if that has several addresses, with an error for `attemptsInstead`. */
export function endAtSeveral(socket: Socket, host: string): void {
  const found: Required<Attempt>[] = [];
  socket.on("lookup", (error: unknown, address: string, family: number | string | null) => {
    if (error) return;
    found.push({ host: address, family: Number(family) || isIP(address) });
    // They are told one after the other, in one go; before the runtime comes to the second one it is over.
    if (found.length === 2) queueMicrotask(() => socket.destroy(new SeveralAddresses(host, found)));
  });
}

/** Returns what to try instead of an attempt that ended with `error`; nothing unless that came from `endAtSeveral`. */
export function attemptsInstead(error: unknown): readonly Attempt[] {
  return error instanceof SeveralAddresses ? error.attempts : [];
}
