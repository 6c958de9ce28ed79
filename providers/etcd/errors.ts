/**
 * The refusals of etcd, and what they say about a request.
 *
 * @module
 */

/** The codes of gRPC that matter here. */
export const Code = {
  invalidArgument: 3,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** An error that a member answered. */
export class EtcdError extends Error {
  override readonly name = "EtcdError";
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Returns true if there is no such lease, so that nothing of the request was done. */
export function isLeaseGone(error: unknown): boolean {
  return error instanceof EtcdError && error.code === Code.notFound && /lease not found/.test(error.message);
}

/** Returns true if the request was refused before anything of it was done: it cannot be carried out later. */
export function isRefused(error: unknown): boolean {
  return error instanceof EtcdError && error.code in REFUSALS;
}

const REFUSALS: Readonly<Record<number, true>> = {
  [Code.invalidArgument]: true,
  [Code.notFound]: true,
  [Code.permissionDenied]: true,
  [Code.resourceExhausted]: true,
  [Code.failedPrecondition]: true,
  [Code.unauthenticated]: true,
};

/** Returns true if the member has lost its cluster, and says so at once: nothing was sent on. */
export function hasNoLeader(error: unknown): boolean {
  return error instanceof EtcdError && error.code === Code.unavailable && /no leader/.test(error.message);
}

/** Returns true if another token would do: this one is unknown, its time is over, or there was none. */
export function needsToken(error: unknown): boolean {
  if (!(error instanceof EtcdError)) return false;
  return error.code === Code.unauthenticated ||
    /user name is empty|invalid auth token|auth store is old/.test(error.message);
}
