/**
 * Helpers around a provider's call to its driver.
 *
 * @module
 */

import { ProviderError, type ProviderOperation } from "./errors.ts";
import { redact } from "./redact.ts";

/**
 * Awaits `work`, but no longer than `signal` lasts: a driver that ignores an abort must not hold its caller. The answer
 * that comes too late is dropped, also when it is an error.
 *
 * @throws the reason of `signal`, when it aborts first
 */
export function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    if (signal.aborted) {
      work.catch(() => {});
      return onAbort();
    }
    signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/**
 * Runs one call to a backend: not at all when `signal` has aborted, and no longer than it lasts.
 *
 * @throws {ProviderError} what went wrong, without credentials; or the reason of `signal`
 */
export async function callBackend<T>(
  provider: string,
  operation: ProviderOperation,
  thing: string,
  signal: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  try {
    return await abortable(work(), signal);
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    throw providerError(provider, operation, thing, cause);
  }
}

/** Builds the {@linkcode ProviderError} for `cause`; one that is a `ProviderError` already is returned as it is. */
export function providerError(
  provider: string,
  operation: ProviderOperation,
  thing: string,
  cause: unknown,
): ProviderError {
  if (cause instanceof ProviderError) return cause;
  const why = redact(reasonOf(cause));
  const permanent = isPermanent(cause);
  const message = `Cannot ${VERBS[operation]} ${provider} "${thing}": ${why}`;
  return new ProviderError(provider, operation, message, { cause, permanent });
}

/**
 * Marks what a driver threw as a failure that will not mend by itself, and returns it: the {@linkcode ProviderError}
 * that is built for it is `permanent`.
 */
export function permanently<E extends object>(error: E): E {
  PERMANENT.add(error);
  return error;
}

const PERMANENT = new WeakSet<object>();

/** Certificates that are not trusted, by the codes of OpenSSL and Node, and permissions of the runtime. */
const PERMANENT_CODES: ReadonlySet<unknown> = new Set([
  "CERT_HAS_EXPIRED",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "ERR_ACCESS_DENIED",
  "ERR_TLS_CERT_ALTNAME_INVALID",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

/** An error says it by its mark, its code or, in Deno, its name or words; or one of those that caused it does. */
function isPermanent(cause: unknown): boolean {
  for (
    let [error, depth] = [cause, 0];
    error instanceof Error && depth < 8;
    [error, depth] = [error.cause, depth + 1]
  ) {
    const { code } = error as { code?: unknown };
    if (PERMANENT.has(error) || PERMANENT_CODES.has(code) || error.name === "NotCapable") return true;
    if (/invalid peer certificate/.test(error.message)) return true;
  }
  return false;
}

/** Anything can be thrown, also what cannot be made into text. */
function reasonOf(cause: unknown): string {
  try {
    return String(cause instanceof Error ? cause.message || cause.name : cause);
  } catch {
    return "something without a text was thrown";
  }
}

const VERBS: Readonly<Record<ProviderOperation, string>> = {
  open: "open",
  acquire: "acquire the lease in",
  renew: "renew the lease in",
  release: "release the lease in",
  read: "read the leader from",
  watch: "watch",
  groups: "list the groups of",
  healthCheck: "reach",
};

/** Reads metadata that a backend kept as JSON. Anything but an object of strings, which is not ours, counts as none. */
export function parseMetadata(json: string | null | undefined): Record<string, string> {
  try {
    const value: unknown = JSON.parse(json || "{}");
    if (typeof value !== "object" || value === null || Array.isArray(value)) return {};
    return Object.fromEntries(
      Object.entries(value).filter((entry): entry is [string, string] => typeof entry[1] === "string"),
    );
  } catch {
    return {};
  }
}
