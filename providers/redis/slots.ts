/**
 * The slots of a cluster: which one a key is in, and which servers say that they have them.
 *
 * @module
 */

import { type Address, format } from "./target.ts";

/** The number of slots of a cluster. */
export const SLOTS = 16_384;

/** Returns the slot of a key: by what stands between its first `{` and the next `}`, where that is not empty. */
export function slotOf(key: string): number {
  const open = key.indexOf("{");
  const close = open < 0 ? -1 : key.indexOf("}", open + 1);
  const tag = close > open + 1 ? key.slice(open + 1, close) : key;
  return crc16(new TextEncoder().encode(tag)) % SLOTS;
}

/** CRC-16/XMODEM, as the specification of Redis Cluster has it. */
function crc16(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  }
  return crc & 0xffff;
}

/** The owners of the slots. */
export interface SlotMap {
  /** The primary of each slot, as `host:port`. */
  readonly primaryOf: (string | undefined)[];
  /** All servers, replicas too. */
  readonly nodes: ReadonlyMap<string, Address>;
}

/**
 * Reads the answer of `CLUSTER SLOTS`.
 *
 * @param from the server that answered: a server that does not know its own host is meant by an empty one
 * @param translate maps an address as the servers see it to the one to connect to
 */
export function readSlots(answer: unknown, from: Address, translate: (address: Address) => Address): SlotMap {
  const primaryOf: (string | undefined)[] = new Array(SLOTS);
  const nodes = new Map<string, Address>();
  for (const range of Array.isArray(answer) ? answer as unknown[][] : []) {
    const [first, last, ...servers] = range;
    const names = servers.map((server) => {
      const [host, port] = server as unknown[];
      const address = translate({ host: host ? String(host) : from.host, port: Number(port) });
      nodes.set(format(address), address);
      return format(address);
    });
    for (let slot = Number(first); slot <= Number(last) && slot < SLOTS; slot++) primaryOf[slot] = names[0];
  }
  return { primaryOf, nodes };
}

/** Reads `MOVED 3999 127.0.0.1:6381` and `ASK 3999 127.0.0.1:6381`; null if it is neither. */
export function readRedirect(error: string, from: Address): { asking: boolean; slot: number; address: Address } | null {
  const [, kind, slot, host, port] = /^(MOVED|ASK) (\d{1,5}) (\S*):(\d{1,5})/.exec(error) ?? [];
  if (kind === undefined || Number(slot) >= SLOTS) return null;
  const address = { host: host?.replace(/^\[|\]$/g, "") || from.host, port: Number(port) };
  return { asking: kind === "ASK", slot: Number(slot), address };
}
