/**
 * The nodes of an election: their names, order and content, in the layout of Curator's `LeaderLatch`.
 *
 * `ROOT/GROUP` has one ephemeral sequential node for each who leads or waits, named `_c_<GUID>-<kind>-latch-<10
 * digits>` and holding the participant's id, so that Curator's `getLeader()` shows it. The first by sequence leads;
 * Curator sorts by what follows the last `latch-`, and counts every child. Ours come in two kinds:
 *
 * - `_c_<termId>-term-latch-N` was made to lead at once, for that term. It leads if it is first.
 * - `_c_<GUID>-place-latch-N` keeps a place in the queue. It leads once it is first **and** the record, the data of
 *   `ROOT/GROUP`, names it: a participant that waits has no term yet.
 *
 * The record holds what an id has no room for. It is written only in one transaction with a check that the node of the
 * writer still exists, and only by whom is first: so by the leader, as long as it leads. Nodes themselves are never
 * written to: a Curator participant watches its predecessor once, takes a change of its data for nothing, and would
 * then never hear that it is gone.
 *
 * @module
 */

import { parseMetadata } from "../../src/call.ts";
import type { LeaderInfo } from "../../src/provider.ts";
import type { Stat } from "./protocol.ts";

/** Why a node was made; `foreign` ones are those of Curator participants. */
export type LatchKind = "term" | "place" | "foreign";

/** The content of `ROOT/GROUP`. */
export interface LatchRecord {
  /** The name of the node that it is about. */
  readonly node: string;
  /** The term that the node was granted to. */
  readonly termId: string;
  /** When, if that is known: otherwise the record itself was written then. In milliseconds since the epoch. */
  readonly acquiredAt?: number;
  /** The leader's words about itself. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** A node as it was read. */
export interface NodeContent {
  /** Its content. */
  readonly data: Uint8Array;
  /** The server's knowledge of it. */
  readonly stat: Stat;
}

/** The node name of a group: the group's, unless that means something else in a path. */
export function encodeGroup(group: string): string {
  return group === "." || group === ".." ? group.replaceAll(".", "%2E") : group;
}

/** The group of a node name; null when it is none of ours. */
export function decodeGroup(name: string): string | null {
  const group = /^(%2E){1,2}$/.test(name) ? name.replaceAll("%2E", ".") : name;
  return /^[A-Za-z0-9_.-]{1,255}$/.test(group) ? group : null;
}

/** The path of a new node, without the sequence number that the server appends. */
export function latchPrefix(directory: string, kind: LatchKind, guid: string): string {
  return `${directory}/_c_${encodeURIComponent(guid)}-${kind}-latch-`;
}

/** Returns the names of `children` in order of precedence: the first leads. */
export function inOrder(children: readonly string[]): string[] {
  const keyed = children.map((name) => ({ name, key: sequenceOf(name) }));
  return keyed.sort((a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0).map(({ name }) => name);
}

/** Returns the node to wait for: the one before `name`. Null when it is first; undefined when it is not there. */
export function predecessorOf(children: readonly string[], name: string): string | null | undefined {
  const sorted = inOrder(children);
  const index = sorted.indexOf(name);
  return index < 0 ? undefined : sorted[index - 1] ?? null;
}

/** Returns the names of `children` that stand before `name`, in order; null when it is not there. */
export function namesBefore(children: readonly string[], name: string): string[] | null {
  const sorted = inOrder(children);
  const index = sorted.indexOf(name);
  return index < 0 ? null : sorted.slice(0, index);
}

/** Returns the last part of `path`. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/**
 * Returns true if `name` has a sequence number that sorts. The server's counter overflows after 2^31 nodes of one group
 * and goes on with negative numbers, which would be taken for the first.
 */
export function hasSequence(name: string): boolean {
  return /^\d{10}$/.test(sequenceOf(name));
}

/** Curator's rule: what follows the last `latch-`, or the whole name. */
function sequenceOf(name: string): string {
  const at = name.lastIndexOf("latch-");
  return at < 0 ? name : name.slice(at + "latch-".length);
}

/** Tells what `name` says about a node. */
export function parseName(name: string): { readonly kind: LatchKind; readonly guid: string } {
  const [, guid, kind] = /^_c_(.+)-(term|place)-latch-\d{10}$/.exec(name) ?? [];
  if (guid !== undefined) return { kind: kind === "term" ? "term" : "place", guid: decode(guid) };
  return { kind: "foreign", guid: /^_c_([0-9a-f-]{36})-/.exec(name)?.[1] ?? name };
}

/** Encodes a record. */
export function encodeRecord(record: LatchRecord): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(record));
}

/** Decodes a record; null when `data` is none. */
export function decodeRecord(data: Uint8Array): LatchRecord | null {
  try {
    const { node, termId, acquiredAt, metadata } = JSON.parse(new TextDecoder().decode(data));
    if (typeof node !== "string" || typeof termId !== "string") return null;
    const at = typeof acquiredAt === "number" ? { acquiredAt } : {};
    return { node, termId, ...at, metadata: parseMetadata(JSON.stringify(metadata)) };
  } catch {
    return null;
  }
}

/** Describes the leader whose node `name` is first; null when that node only keeps a place. */
export function describeLeader(name: string, node: NodeContent, group: NodeContent): LeaderInfo | null {
  const { kind, guid } = parseName(name);
  const written = decodeRecord(group.data);
  const record = written?.node === name ? written : null;
  if (kind === "place" && record === null) return null;
  const acquiredAt = kind === "place" ? record?.acquiredAt ?? group.stat.mtime : node.stat.ctime;
  return {
    leaderId: new TextDecoder().decode(node.data),
    termId: record?.termId ?? guid,
    token: node.stat.czxid,
    leadershipAcquiredAt: new Date(acquiredAt),
    lastHeartbeat: null,
    metadata: record?.metadata ?? {},
    expiresIn: null,
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
