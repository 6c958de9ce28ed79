/**
 * The names of keys. The layout is that of `etcdctl elect` and of Go's `concurrency.Election`: whoever takes part in
 * the election `PREFIX/GROUP` has a key below it, and the one that was created first leads.
 *
 * @module
 */

import { Buffer } from "node:buffer";

/** A range of keys, in base64: from `key` to before `end`. */
export interface KeyRange {
  readonly key: string;
  readonly end: string;
}

/** Names the keys of a provider. */
export class Keys {
  /** The beginning of all keys, with a slash at its end. */
  readonly prefix: string;
  /** Every key of ours. */
  readonly all: KeyRange;

  constructor(prefix: string) {
    this.prefix = prefix;
    this.all = rangeOf(prefix);
  }

  /** The key of a term. */
  ofTerm(electionGroup: string, termId: string): string {
    return `${this.prefix}${electionGroup}/${termId}`;
  }

  /** The keys of all who take part in the election of a group. */
  ofGroup(electionGroup: string): KeyRange {
    return rangeOf(`${this.prefix}${electionGroup}/`);
  }

  /** The fence of a session. No group has an empty name. */
  ofFence(sessionId: string): string {
    return `${this.prefix}/${BigInt(sessionId).toString(16)}`;
  }

  /** The key under which those who wait are told who is to lead next. */
  ofHeir(electionGroup: string): string {
    return `${this.prefix}/heir/${electionGroup}`;
  }

  /** Returns the group whose heir a key tells; null if it is another key. */
  groupOfHeir(key: string): string | null {
    const beginning = this.ofHeir("");
    return key.startsWith(beginning) ? key.slice(beginning.length) : null;
  }

  /** Returns the group and the rest of a key; null if it is that of no group. */
  parse(key: string): { readonly electionGroup: string; readonly rest: string } | null {
    const match = key.startsWith(this.prefix) && /^([A-Za-z0-9_.-]{1,255})\/(.+)$/s.exec(key.slice(this.prefix.length));
    if (!match || match[1] === undefined || match[2] === undefined) return null;
    return { electionGroup: match[1], rest: match[2] };
  }
}

/** The keys that begin with `prefix`, which ends with a slash: up to the character after it, `0`. */
function rangeOf(prefix: string): KeyRange {
  return { key: base64(prefix), end: base64(`${prefix.slice(0, -1)}0`) };
}

/** Returns a text as the gateway takes it. */
export function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

/** Reads what the gateway answers; what is empty is left out. */
export function fromBase64(text: string | undefined): string {
  return Buffer.from(text ?? "", "base64").toString();
}
