/**
 * A Lease object, as the API server has it, and as an election understands it.
 *
 * The spec is that of client-go's `LeaseLock`, so that its electors follow our terms and we follow theirs. It has no
 * room for a term id and a token: those are in an annotation. client-go keeps annotations when it takes over, so one
 * counts only while the spec is the one that it was written with.
 *
 * @module
 */

import { parseMetadata, permanently } from "../../src/call.ts";
import type { AcquireRequest } from "../../src/provider.ts";
import { GROUP, nameOf } from "./names.ts";

/** The annotations with the term and its metadata, and the label by which `groups()` finds a Lease. */
const TERM = "multilock/term";
const METADATA = "multilock/metadata";
/** The label of every Lease that was an election's. */
export const LABEL = "multilock/election";

/** A Lease, as an API server answers it. */
export interface LeaseObject {
  readonly metadata: {
    readonly name: string;
    readonly uid?: string;
    readonly resourceVersion: string;
    readonly annotations?: Readonly<Record<string, string>> | null;
  };
  readonly spec?: {
    readonly holderIdentity?: string | null;
    /** Whole seconds. */
    readonly leaseDurationSeconds?: number | null;
    /** RFC 3339 with six decimals, by the holder's clock: for people, and to see that it has changed. */
    readonly acquireTime?: string | null;
    readonly renewTime?: string | null;
    readonly leaseTransitions?: number | null;
  } | null;
}

/** A term of ours, as its annotation has it. */
export interface TermRecord {
  readonly termId: string;
  /** Null in the acquiring write, which cannot know the version that it will get. */
  readonly token: bigint | null;
  /** The highest token before this term. */
  readonly after: bigint;
  readonly heartbeatTimeout: number;
  /** Counts the heartbeats. */
  readonly beat: number;
}

/** A Lease at one moment. */
export interface LeaseState {
  /** The version that a write is conditional on; "" where there is no such Lease. */
  readonly version: string;
  /** All that changes with a heartbeat: two states with the same mark have none in between. "" where there is none. */
  readonly mark: string;
  /** The holder; "" where nobody holds it. */
  readonly holder: string;
  /** The term of the holder; null if the holder is another program's. */
  readonly term: TermRecord | null;
  /** The highest token that is known of earlier terms. */
  readonly after: bigint;
  /** The version under which the term of the holder was first seen. */
  readonly firstSeen: bigint;
  readonly leaseDurationSeconds: number | null;
  readonly acquireTime: string | null;
  readonly renewTime: string | null;
  readonly leaseTransitions: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** The participant for whom it was given back; "" where there is none. */
  readonly transferTo: string;
  /** The call that gave it back; "" where somebody holds it. */
  readonly releasedBy: string;
}

/** A group without a Lease. */
export const ABSENT: LeaseState = {
  version: "",
  mark: "",
  holder: "",
  term: null,
  after: 0n,
  firstSeen: 0n,
  leaseDurationSeconds: null,
  acquireTime: null,
  renewTime: null,
  leaseTransitions: 0,
  metadata: {},
  transferTo: "",
  releasedBy: "",
};

/**
 * Reads a Lease.
 *
 * @param earlier an earlier state of it
 */
export function stateOf({ metadata, spec }: LeaseObject, earlier: LeaseState = ABSENT): LeaseState {
  const { uid, resourceVersion: version, annotations } = metadata;
  const { leaseDurationSeconds = null, acquireTime = null, renewTime = null, leaseTransitions } = spec ?? {};
  const holder = spec?.holderIdentity ?? "";
  const written = parseTerm(annotations?.[TERM]);
  const isOurs = holder !== "" && written !== null && written.term !== null && written.holder === holder &&
    written.renewTime === renewTime;
  const term = isOurs ? written.term : null;
  const spoken = { holder, leaseDurationSeconds, acquireTime, renewTime, leaseTransitions: leaseTransitions ?? 0 };
  const state: LeaseState = {
    version,
    mark: JSON.stringify([uid, ...Object.values(spoken), term?.termId ?? null, term?.beat ?? null]),
    term,
    after: highestIn(written),
    firstSeen: 0n,
    ...spoken,
    metadata: isOurs ? parseMetadata(annotations?.[METADATA]) : {},
    transferTo: holder === "" ? written?.transferTo ?? "" : "",
    releasedBy: holder === "" ? written?.releasedBy ?? "" : "",
  };
  // The count of terms tells a term from itself, when it has expired and asked again.
  const isKnown = earlier.holder !== "" && termOf(earlier) === termOf(state) &&
    earlier.leaseTransitions === state.leaseTransitions;
  return { ...state, firstSeen: isKnown ? earlier.firstSeen : numberOf(version) };
}

/** Names the term of a holder. One of another program has no id: it is known by what stays the same while it lasts. */
export function termOf({ term, holder, acquireTime, leaseTransitions }: LeaseState): string {
  return term?.termId ?? `${holder} ${acquireTime ?? ""} ${leaseTransitions}`;
}

/**
 * Returns the token of the term that a state shows: the version of the acquiring write, which grows with every write to
 * the cluster's etcd, also across a Lease that was deleted. In a cluster that was set up anew with an old Lease, the
 * versions are behind: then one more than the last token.
 *
 * The acquiring write could not name its own version, every heartbeat names it. In between it is the version under
 * which the term was first seen, which is later if others have written since. It is never that of the next term.
 */
export function tokenOf({ firstSeen, term, after }: LeaseState): bigint {
  if (term !== null && term.token !== null) return term.token;
  const floor = (term?.after ?? after) + 1n;
  return firstSeen > floor ? firstSeen : floor;
}

/**
 * The highest token that an annotation knows of. A term without a heartbeat has left none: it was the version of its
 * write, which later ones exceed, unless the highest before it was as high.
 */
function highestIn(written: Written | null): bigint {
  if (written === null || written.term === null) return written?.after ?? 0n;
  return written.term.token ?? written.term.after + 1n;
}

/** Compares versions by age; officially they are numbers from Kubernetes 1.35 on, and are in every earlier one. */
export function numberOf(version: string): bigint {
  if (/^\d{1,40}$/.test(version)) return BigInt(version);
  throw permanently(new Error(`the resource version "${version}" is no number`));
}

/** The Lease that begins a term, as a new object, or as a merge patch that is conditional on a version. */
export function begun(request: AcquireRequest, state: LeaseState, wallMs: number): Record<string, unknown> {
  const { electionGroup, participantId, termId, heartbeatTimeout, metadata } = request;
  const after = state.term === null ? state.after : tokenOf(state);
  const term: TermRecord = { termId, token: null, after, heartbeatTimeout, beat: 0 };
  const time = microTime(wallMs, 0);
  const isNew = state.version === "";
  const carried = Object.keys(metadata).length > 0 ? JSON.stringify(metadata) : null;
  return {
    ...(isNew && { apiVersion: "coordination.k8s.io/v1", kind: "Lease" }),
    metadata: {
      ...(isNew ? { name: nameOf(electionGroup) } : { resourceVersion: state.version }),
      labels: { [LABEL]: "true" },
      annotations: {
        [GROUP]: electionGroup,
        [TERM]: written(term, participantId, time),
        // In a patch, null takes away what an earlier term left; in a new object there is nothing to take away.
        ...(!isNew || carried !== null ? { [METADATA]: carried } : {}),
      },
    },
    spec: {
      holderIdentity: participantId,
      // Rounded down, it would let others in early who go by it.
      leaseDurationSeconds: Math.ceil(heartbeatTimeout / 1_000),
      acquireTime: time,
      renewTime: time,
      leaseTransitions: isNew ? 0 : state.leaseTransitions + 1,
    },
  };
}

/** The merge patch of a heartbeat. Without `metadata`, the Lease keeps what it has. */
export function renewed(
  { version, holder }: LeaseState,
  term: TermRecord & { readonly token: bigint },
  wallMs: number,
  metadata: Readonly<Record<string, string>> | undefined,
): Record<string, unknown> {
  const time = microTime(wallMs, term.beat);
  const annotations = {
    [TERM]: written(term, holder, time),
    ...(metadata !== undefined && { [METADATA]: JSON.stringify(metadata) }),
  };
  return { metadata: { resourceVersion: version, annotations }, spec: { renewTime: time } };
}

/**
 * The merge patch that gives a Lease back, as client-go does it: its electors then try to take it at once.
 *
 * @param by names the call
 * @param transferTo for whom; "" for nobody in particular
 */
export function released(state: LeaseState, wallMs: number, by: string, transferTo: string): Record<string, unknown> {
  const term = { after: String(tokenOf(state)), by, ...(transferTo !== "" && { transferTo }) };
  const annotations = { [TERM]: JSON.stringify(term), [METADATA]: null };
  return {
    metadata: { resourceVersion: state.version, annotations },
    spec: { holderIdentity: "", leaseDurationSeconds: 1, renewTime: microTime(wallMs, 0) },
  };
}

/**
 * A time as the API takes it, with six decimals. The last three count the heartbeats, so that the spec changes with
 * each, also by a clock that stands still: client-go's electors look at nothing else.
 */
function microTime(wallMs: number, beat: number): string {
  return new Date(wallMs).toISOString().replace("Z", `${String(beat % 1_000).padStart(3, "0")}Z`);
}

/** The room that the token and the count of heartbeats may take, in characters, as they grow. */
const GROWTH = `"token":"${2n ** 64n}",`.length + String(2 ** 32).length;

/**
 * The annotation of a term, and the part of the spec that it was written with. It has the same length all through the
 * term: a heartbeat must fit where the annotations of an object are as large as they may be.
 */
function written({ token, after, beat, ...term }: TermRecord, holder: string, renewTime: string): string {
  const tokens = { ...(token !== null && { token: String(token) }), after: String(after) };
  const growing = JSON.stringify({ ...tokens, beat }).length - JSON.stringify({ after: tokens.after, beat: 0 }).length;
  return JSON.stringify({ ...term, ...tokens, beat, holder, renewTime }) + " ".repeat(Math.max(GROWTH - growing, 0));
}

interface Written {
  readonly term: TermRecord | null;
  readonly after: bigint;
  readonly holder: unknown;
  readonly renewTime: unknown;
  readonly transferTo: string;
  readonly releasedBy: string;
}

function parseTerm(text: string | undefined): Written | null {
  try {
    const json: unknown = JSON.parse(text ?? "null");
    if (typeof json !== "object" || json === null) return null;
    const fields = json as Record<string, unknown>;
    const { termId, token, after, heartbeatTimeout, beat, holder, renewTime } = fields;
    const before = tokenIn(after);
    if (before === null) return null;
    const isWhole = typeof termId === "string" && termId !== "" && (token === undefined || tokenIn(token) !== null) &&
      typeof heartbeatTimeout === "number" && heartbeatTimeout > 0 && typeof beat === "number";
    const term = isWhole ? { termId, token: tokenIn(token), after: before, heartbeatTimeout, beat } : null;
    const textOf = (value: unknown) => typeof value === "string" ? value : "";
    const [transferTo, releasedBy] = [textOf(fields.transferTo), textOf(fields.by)];
    return { term, after: before, holder, renewTime, transferTo, releasedBy };
  } catch {
    return null;
  }
}

function tokenIn(text: unknown): bigint | null {
  return typeof text === "string" && /^\d{1,40}$/.test(text) ? BigInt(text) : null;
}
