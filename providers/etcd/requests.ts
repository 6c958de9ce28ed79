// deno-lint-ignore-file camelcase -- the names are those of etcd's JSON
/**
 * The requests of etcd's JSON gateway that elections need, and their answers. Numbers of 64 bits are text; what is
 * false, zero or empty is left out.
 *
 * @module
 */

import { base64, type KeyRange } from "./keys.ts";

/** The fields that every answer begins with. */
export interface Header {
  readonly revision?: string;
  /** The term of the last entry of the Raft log that the member had applied. */
  readonly raft_term?: string;
}

/** A key and what is in it. */
export interface KeyValue {
  readonly key: string;
  readonly value?: string;
  readonly create_revision: string;
  readonly mod_revision: string;
  readonly lease?: string;
}

/** The answer of a range. */
export interface RangeAnswer {
  readonly header: Header;
  readonly kvs?: readonly KeyValue[];
}

/** The answer of a transaction. */
export interface TxnAnswer {
  readonly header: Header;
  readonly succeeded?: boolean;
  readonly responses?: readonly {
    readonly response_range?: RangeAnswer;
    readonly response_delete_range?: { readonly deleted?: string };
  }[];
}

/** The answer of a grant, and of a keepalive: without a TTL there is no such lease. */
export interface LeaseAnswer {
  readonly header: Header;
  readonly ID?: string;
  readonly TTL?: string;
}

/** A message of a watch. */
export interface WatchMessage {
  readonly header: Header;
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly cancel_reason?: string;
  /** The watch began at a revision that the cluster has forgotten; this one it knows. */
  readonly compact_revision?: string;
  readonly events?: readonly { readonly type?: "DELETE"; readonly kv: KeyValue }[];
}

/** A condition of a transaction. */
export type Compare = Readonly<Record<string, string>>;
/** A step of a transaction. */
export type Operation = Readonly<Record<string, unknown>>;

/** One transaction. */
export interface Txn {
  readonly compare?: readonly Compare[];
  readonly success: readonly Operation[];
  readonly failure?: readonly Operation[];
}

/** Holds while there is no key in the range. */
export function isEmpty({ key, end }: KeyRange): Compare {
  return { key, range_end: end, target: "CREATE", result: "EQUAL", create_revision: "0" };
}

/** Holds while the key is the one that was created at this revision. */
export function isCreatedAt(key: string, revision: bigint): Compare {
  return { key: base64(key), target: "CREATE", result: "EQUAL", create_revision: String(revision) };
}

/** Holds while this revision was the last to write the key; 0 for a key that does not exist. */
export function isWrittenAt(key: string, revision: string): Compare {
  return { key: base64(key), target: "MOD", result: "EQUAL", mod_revision: revision };
}

/** Holds never. */
export function never(key: string): Compare {
  return { key: base64(key), target: "CREATE", result: "LESS", create_revision: "0" };
}

/** Puts a value under a key that goes with the session. */
export function put(key: string, value: string, sessionId?: string): Operation {
  return {
    request_put: { key: base64(key), value: base64(value), ...(sessionId !== undefined && { lease: sessionId }) },
  };
}

/** Deletes a key. */
export function remove(key: string): Operation {
  return { request_delete_range: { key: base64(key) } };
}

/** Reads a key, with or without its value. */
export function get(key: string, keysOnly = false): Operation {
  return { request_range: { key: base64(key), ...(keysOnly && { keys_only: true }) } };
}

/** Reads the keys of a range, without their values. */
export function keysIn({ key, end }: KeyRange): { readonly [name: string]: unknown } {
  return { key, range_end: end, keys_only: true };
}

/** Watches the keys of a range, from a revision on; from now on where there is none. */
export function watchOf({ key, end }: KeyRange, from: bigint | null): { readonly [name: string]: unknown } {
  return { create_request: { key, range_end: end, ...(from !== null && { start_revision: String(from) }) } };
}

/** Reads the key of a range that was created first: the leader's. */
export function first({ key, end }: KeyRange): { readonly [name: string]: unknown } {
  return { key, range_end: end, limit: 1, sort_order: "ASCEND", sort_target: "CREATE" };
}

/** Returns the first key that a step of a transaction read. */
export function found(answer: TxnAnswer, step: number): KeyValue | undefined {
  return answer.responses?.[step]?.response_range?.kvs?.[0];
}
