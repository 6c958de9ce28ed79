/**
 * The operations of a transaction on one key, in the format of `consul lock`.
 *
 * @module
 */

import { Buffer } from "node:buffer";

/** The flags that `consul lock` marks its keys with. They are too large for a number, and are written as text. */
const LOCK_FLAGS = "3304740253564472344";

/** One operation of a transaction, as JSON. */
export type Operation = string;

/** The operations on one key. Every write gives value and flags, since it replaces both. */
export interface OperationsOnKey {
  /** Fails unless the last write to the key has this index. */
  checkIndex(index: number): Operation;
  /** Fails if there is such a key. */
  checkMissing(): Operation;
  /** Locks the key for `session`; fails if another has it. */
  lock(session: string, value: Uint8Array): Operation;
  /** Unlocks the key and empties it; fails unless `session` has it. */
  unlock(session: string): Operation;
  /** Empties the key; fails unless the last write to it has this index. */
  clear(index: number): Operation;
}

/** Returns operations on `key`. */
export function operationsOn(key: string): OperationsOnKey {
  const name = JSON.stringify(key);
  const write = (verb: string, condition: string, value: string) =>
    `{"KV":{"Verb":"${verb}","Key":${name},"Flags":${LOCK_FLAGS},${condition},"Value":"${value}"}}`;
  return {
    checkIndex: (index) => `{"KV":{"Verb":"check-index","Key":${name},"Index":${index}}}`,
    checkMissing: () => `{"KV":{"Verb":"check-not-exists","Key":${name}}}`,
    lock: (session, value) =>
      write("lock", `"Session":${JSON.stringify(session)}`, Buffer.from(value).toString("base64")),
    unlock: (session) => write("unlock", `"Session":${JSON.stringify(session)}`, ""),
    clear: (index) => write("cas", `"Index":${index}`, ""),
  };
}

/** Returns true if `flags`, as a number that lost its last digits, are those of a lock. */
export function isLock(flags: number): boolean {
  return flags === Number(LOCK_FLAGS);
}
