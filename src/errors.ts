/**
 * The error classes of elections. A caller's mistake is a `TypeError` or a `RangeError`; losing a race is a value, not
 * an error; everything else is one of these.
 *
 * @module
 */

/** The base class of every error that an election raises, other than a caller's mistake. */
export class ElectionError extends Error {
  /** The name of the class. */
  override name = "ElectionError";
}

/** Raised when the parts of a configuration cannot work together, for example timing that would not be safe. */
export class ConfigError extends ElectionError {
  /** The name of the class. */
  override name = "ConfigError";
}

/** The operation of a provider that failed. */
export type ProviderOperation =
  | "open"
  | "acquire"
  | "renew"
  | "release"
  | "read"
  | "watch"
  | "groups"
  | "healthCheck";

/**
 * Raised when a backend failed or did not answer in time. It always means *unknown*: the backend may still have carried
 * out, or may yet carry out, what was asked of it.
 */
export class ProviderError extends ElectionError {
  /** The name of the class. */
  override name = "ProviderError";
  /** The name of the provider, such as `"redis"`. */
  readonly provider: string;
  /** The operation that failed. */
  readonly operation: ProviderOperation;
  /**
   * True if the failure will not mend by itself: credentials, permissions, an unknown database, a missing driver, a
   * malformed or foreign record, a time-out that the server refuses, TLS trust.
   */
  readonly permanent: boolean;

  /** Builds the error. `message` reads `Cannot <verb> <thing> "<name>": <why>` and holds no credentials. */
  constructor(
    provider: string,
    operation: ProviderOperation,
    message: string,
    options: ErrorOptions & { readonly permanent?: boolean } = {},
  ) {
    super(message, options);
    this.provider = provider;
    this.operation = operation;
    this.permanent = options.permanent ?? false;
  }
}

/**
 * Why a term ended: `expired`, its deadline passed without a renewal; `lost`, the backend said that the lease is no
 * longer ours; `released`, {@linkcode LeaderElection.releaseLeadership} or `run` gave it up; `stopped`, the election
 * was stopped; `unhealthy`, the `healthCheck` callback said no.
 */
export type LostReason = "expired" | "lost" | "released" | "stopped" | "unhealthy";

/** Raised, and the reason `term.signal` aborts with, when a term has ended or is being given up. */
export class LeadershipLostError extends ElectionError {
  /** The name of the class. */
  override name = "LeadershipLostError";
  /** Why the term ended. */
  readonly reason: LostReason;

  /** Builds the error for the term of `electionGroup` that ended for `reason`. */
  constructor(electionGroup: string, reason: LostReason, options?: ErrorOptions) {
    super(`Cannot go on leading "${electionGroup}": ${LOST_BECAUSE[reason]}`, options);
    this.reason = reason;
  }
}

const LOST_BECAUSE: Readonly<Record<LostReason, string>> = {
  expired: "the lease was not renewed before its deadline",
  lost: "the backend says that the lease belongs to another term or to nobody",
  released: "leadership was released",
  stopped: "the election was stopped",
  unhealthy: "the health check failed",
};
