/**
 * The contract between an election and the backend that keeps its lease. `@multilock/core/testing` has the suite that
 * checks an implementation against it.
 *
 * @module
 */

/** Options of every provider operation. */
export interface CallOptions {
  /**
   * Ends the call early. The call must then reject, soon; whatever it had sent may still be carried out by the backend,
   * but nothing may be sent afterwards.
   */
  readonly signal: AbortSignal;
}

/** A request for the lease of a group. */
export interface AcquireRequest {
  /** The election group; matches `/^[A-Za-z0-9_.-]{1,255}$/`. */
  readonly electionGroup: string;
  /** The participant; matches the same expression. Two participants may, by mistake, have the same one. */
  readonly participantId: string;
  /** A random UUID. The same one comes again only while the outcome of an earlier call is unknown. */
  readonly termId: string;
  /** The time for which the lease lives without a heartbeat, in whole milliseconds. */
  readonly heartbeatTimeout: number;
  /**
   * Facts that others see in {@linkcode LeaderInfo.metadata}. Within its limits; keys and values may hold any
   * characters.
   */
  readonly metadata: Readonly<Record<string, string>>;
}

/** The right of one term, as the backend granted it. */
export interface Lease {
  /** The election group. */
  readonly electionGroup: string;
  /** The participant that holds it. */
  readonly participantId: string;
  /** The term it belongs to: the only thing that `renew` and `release` may compare. */
  readonly termId: string;
  /** The fencing token: larger than that of every earlier term of the group. */
  readonly token: bigint;
  /** When the backend granted it, by the backend's clock where it has one. For people to read; never compared. */
  readonly acquiredAt: Date;
  /** The time for which the lease lives from its grant and from each renewal, in milliseconds. */
  readonly heartbeatTimeout: number;
}

/** The leader, as the backend's record shows it. */
export interface LeaderInfo {
  /** The participant. */
  readonly leaderId: string;
  /** Its term. */
  readonly termId: string;
  /** Its fencing token. */
  readonly token: bigint;
  /** When its term began, by the backend's clock where it has one. */
  readonly leadershipAcquiredAt: Date;
  /** When it last renewed, by the same clock; null where the backend does not record it. */
  readonly lastHeartbeat: Date | null;
  /** Facts that it gave about itself. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Milliseconds until the lease can expire, counted from the answer; null where only the backend knows. */
  readonly expiresIn: number | null;
}

/** The answer of `acquire` when the lease was granted. */
export interface Acquired {
  /** Tells the two answers apart. */
  readonly acquired: true;
  /** The lease. */
  readonly lease: Lease;
}

/** The answer of `acquire` when another term holds the lease. */
export interface Held {
  /** Tells the two answers apart. */
  readonly acquired: false;
  /** The holder, from the same round trip; null where it was gone again before it could be read. */
  readonly leader: LeaderInfo | null;
}

/** Abilities and promises of a provider. */
export interface ProviderCapabilities {
  /** True if `watch` exists and gives timely hints. */
  readonly watch: boolean;
  /** True if those who wait are told for whom a lease was released. @default false */
  readonly transfer?: boolean;
  /**
   * Whose clock decides that a lease has expired: that of the backend, or that of the one host all participants share.
   */
  readonly timeAuthority: "server" | "host";
  /** The shortest `heartbeatTimeout` it can keep, in milliseconds. */
  readonly minTimeout: number;
  /** The longest, in milliseconds; without it there is no limit. */
  readonly maxTimeout?: number;
  /** One sentence for people: what it takes for the backend to forget a lease or a token. */
  readonly durability: string;
}

/** Something that a backend says of itself, and what it means for leases. */
export interface Finding {
  /** The subject: a setting, or a property of the server, such as `"appendfsync"`. */
  readonly about: string;
  /** `warning`: leases can be lost in a way that one may accept; `error`: elections would not be safe or not work. */
  readonly level: "ok" | "warning" | "error";
  /** The finding, and what follows from it. No credentials. */
  readonly text: string;
  /** The cure. */
  readonly remedy?: string | undefined;
}

/** The report of a backend on itself. */
export interface Inspection {
  /** The product and version of the server, such as `"Redis 7.0.15"`; null where it does not tell. */
  readonly version: string | null;
  /** The meaning of its settings for the durability of leases. */
  readonly findings: readonly Finding[];
  /**
   * The lead of the backend's clock over this host's, in milliseconds; null where it does not tell.
   *
   * @default that of `acquiredAt` of a lease, for a backend that sets it by its own clock
   */
  readonly clockOffsetMs?: number | null;
}

/**
 * A client of one backend that keeps leases. One provider serves any number of elections, over one connection (plus one
 * for watching).
 *
 * - Opening one does no I/O. It connects on first use, and a failure to connect is not remembered.
 * - `acquire` is idempotent by `termId`: repeated by the term that holds the lease, it answers `Acquired` with the same
 *   token and renews the lease in full, as `renew` would. A lease that an unanswered `acquire` leaves behind frees
 *   itself within `heartbeatTimeout`.
 * - `renew` and `release` compare `termId`: a late call of an old term changes nothing. `release` needs no more of the
 *   lease than `electionGroup` and `termId`, so that a term of unknown token can be released too.
 * - `lost` is for good: no renewal of the term that is still on its way brings the lease back. Only another `acquire`
 *   does, under a larger token.
 * - Taking over and renewing are one atomic step each, conditional on what was seen. Expiry is judged by the backend's
 *   clock, or by an observer that saw the same record stand still for a whole lease on its own monotonic clock. No wall
 *   clock of a participant enters a comparison.
 * - Nothing that holds the token is ever deleted: tokens grow across release, expiry and restarts of the backend.
 * - A rejection means *unknown*. It is a {@linkcode ProviderError}, or the signal's reason. A provider retries nothing,
 *   and no command of a call that has rejected is sent later.
 * - Names and metadata were checked by the core.
 */
export interface Provider extends AsyncDisposable {
  /** A short name, such as `"redis"`, for errors and logs. */
  readonly name: string;
  /** Its abilities and promises. */
  readonly capabilities: ProviderCapabilities;
  /** Asks for the lease. */
  acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held>;
  /** Renews the lease for another `heartbeatTimeout`, and replaces the metadata if some is given. */
  renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost">;
  /** Gives the lease back, at once. */
  release(
    lease: Pick<Lease, "electionGroup" | "termId">,
    options: ReleaseCallOptions,
  ): Promise<"released" | "notHolder">;
  /** Reads who leads; null when nobody does or the lease has expired. Never writes. */
  read(electionGroup: string, options: CallOptions): Promise<LeaderInfo | null>;
  /**
   * Yields whenever it is worth looking again: first when the subscription is live, then when the lease may have become
   * free, and after every gap in which a hint may have been lost. Hints only: every one leads to a `read` or `acquire`.
   * Ends, without an error, when `signal` aborts; rejects when the stream breaks. A {@linkcode Hint} may say more than
   * that.
   */
  watch?(electionGroup: string, options: WatchOptions): AsyncIterable<Hint | void>;
  /** Lists the groups that the backend knows, in any order. */
  groups?(options: CallOptions): Promise<string[]>;
  /**
   * Makes one round trip and checks the permissions that elections need. Rejects with a `ProviderError` that says what
   * is wrong.
   */
  healthCheck(options: CallOptions): Promise<void>;
  /**
   * Asks the backend for its version and for the settings that decide how durable leases are. Writes nothing. What may
   * not be asked is a finding, no error.
   */
  inspect?(options: CallOptions): Promise<Inspection>;
}

/**
 * The content of a hint beside "look again", where the backend's message has it. It decides when to look and what to
 * show, never who leads: a message may be late or forged.
 */
export interface Hint {
  /** The lease may be free. Roughly so many clients are told, this one among them: they do not look all at once. */
  readonly waiting?: number | undefined;
  /** Another term has been granted the lease. There is no need to look before that lease can expire. */
  readonly leader?: LeaderInfo | undefined;
  /** The lease of a term was renewed. */
  readonly renewed?: Renewed | undefined;
  /** The lease was released for this participant to take. */
  readonly transferTo?: string | undefined;
}

/** A renewal that was heard of; `expiresIn` counts from the hint. */
export type Renewed = Pick<LeaderInfo, "termId" | "lastHeartbeat" | "expiresIn">;

/** Options of `renew`. */
export interface RenewOptions extends CallOptions {
  /** Replaces the metadata in the record; without it the record keeps what it has. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

/** Options of `release`. */
export interface ReleaseCallOptions extends CallOptions {
  /**
   * The participant that is to lead next: those who wait are told, where the backend can tell them. A hint that a
   * provider may ignore, and that decides nothing: the lease is free for all.
   */
  readonly transferTo?: string | undefined;
}

/** The hint that a lease was released for one participant to take. */
export interface TransferHint extends Hint {
  /** The participant that is to lead next. */
  readonly transferTo: string;
}

/** Options of `watch`. */
export interface WatchOptions extends CallOptions {
  /**
   * The participant that waits. Where the backend has a queue, watching keeps that participant's place in it: the place
   * is given up when the watch ends. Without it, the watcher is an observer.
   */
  readonly participantId?: string | undefined;
}
