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
    const unlisten = () => signal.removeEventListener("abort", onAbort);
    // One promise, where `finally` would make three: each heartbeat comes through here.
    work.then((answer) => (unlisten(), resolve(answer)), (error) => (unlisten(), reject(error)));
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

/**
 * The refusals by one side of TLS, by the codes of OpenSSL and Node: a certificate, a name, a missing certificate of
 * the client, TLS itself. And permissions of the runtime.
 */
const PERMANENT_CODES = new RegExp(
  "^(" + [
    "CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_(GET|VERIFY)_|INVALID_(CA|PURPOSE)$|HOSTNAME_MISMATCH$",
    "ERR_TLS_CERT_|ERR_SSL_WRONG_VERSION_NUMBER$",
    "ERR_SSL_.*ALERT_(ACCESS_DENIED|BAD_CERT|CERT|HANDSHAKE_|NO_CERT|PROTOCOL_VERSION|UNKNOWN_CA|UNSUPPORTED_CERT)",
    "ERR_ACCESS_DENIED$",
  ].join("|") + ")",
);

/** The same, where the code does not tell: of Deno, and of OpenSSL for what it sends. */
const PERMANENT_WORDS = new RegExp(
  "invalid peer certificate|Requires \\w+ access to|" +
    "SSL routines:.*(alert (bad|handshake|unknown ca|.*cert)|wrong version)",
);

/**
 * An error says it by its mark, its code or, in Deno, its name or words; or one of those that caused it does. Of
 * several that were tried one after the other, each must: where one is only down, it may come back.
 */
function isPermanent(cause: unknown, depth = 0): boolean {
  if (!(cause instanceof Error) || depth >= 8) return false;
  // Before errors had a cause, drivers gave it a name of their own.
  const { code, originalError } = cause as { code?: unknown; originalError?: unknown };
  if (PERMANENT.has(cause) || (typeof code === "string" && PERMANENT_CODES.test(code))) return true;
  // An error that stands for several has the words of each in its text: they are asked themselves.
  const several = cause instanceof AggregateError ? cause : cause.cause;
  if (several instanceof AggregateError) {
    return several.errors.length > 0 && several.errors.every((each) => isPermanent(each, depth + 1));
  }
  if (cause.name === "NotCapable" || PERMANENT_WORDS.test(cause.message)) return true;
  return isPermanent(cause.cause ?? originalError, depth + 1);
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
