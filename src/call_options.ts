/**
 * The options of the calls of an election, checked before anything happens.
 *
 * @module
 */

import { refuseUnknown } from "./spelling.ts";

/**
 * Returns the options of a call if they are an object of known names, and its `signal` one that can be listened to.
 *
 * @throws {TypeError} if they are not
 */
export function checkCallOptions<T extends { readonly signal?: AbortSignal | undefined }>(
  call: string,
  options: T,
  known: readonly (keyof T & string)[],
): T {
  // A signal that stands where `{ signal }` should would never be heard.
  if (typeof options !== "object" || options === null || options instanceof AbortSignal) {
    throw new TypeError(`Cannot use the options of ${call}: they must be an object of ${known.join(", ")}`);
  }
  refuseUnknown(`option of ${call}`, Object.keys(options), known);
  checkSignal(`signal of ${call}`, options.signal);
  return options;
}

/** @throws {TypeError} if `signal` is given and is none */
export function checkSignal(name: string, signal: unknown): void {
  if (signal === undefined || signal instanceof AbortSignal) return;
  throw new TypeError(`Cannot use ${name}: it must be an AbortSignal`);
}

/** @throws {TypeError} if `value` lacks one of the methods of what `name` must be */
export function checkMethods(name: string, value: unknown, methods: readonly string[], cure = ""): void {
  const object: Readonly<Record<string, unknown>> = Object(value);
  const missing = methods.filter((method) => typeof object[method] !== "function");
  if (missing.length > 0) throw new TypeError(`Cannot use ${name}: it must have ${missing.join(", ")}${cure}`);
}
