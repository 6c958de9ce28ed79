/**
 * The settings in a provider's URL: each read once, by its kind, and none accepted that nobody knows.
 *
 * @module
 */

import { type Duration, parseDuration } from "../../src/time/duration.ts";
import { refuseUnknown } from "../../src/spelling.ts";

/** The reading of a setting's text: as it is, as true or false, as a whole number, as a duration in milliseconds. */
export type ParameterKind = "text" | "flag" | "count" | "duration";

/** The value that each kind is read as. */
export interface ParameterValue {
  /** The text itself. */
  readonly text: string;
  /** `true` or `false`. */
  readonly flag: boolean;
  /** A whole number of at most nine digits. */
  readonly count: number;
  /** Milliseconds. */
  readonly duration: number;
}

/** The settings of a URL; those that it does not have are absent. */
export type Parameters<K extends Readonly<Record<string, ParameterKind>>> = {
  readonly [N in keyof K]?: ParameterValue[K[N]];
};

/**
 * Reads the settings in the query of a URL.
 *
 * @param provider the provider's name, for errors
 * @param search the query
 * @param kinds the settings that the provider knows
 * @param others settings that belong to the driver: known here, and left to it
 * @throws {TypeError | RangeError} if a setting is unknown, is given twice, or is not of its kind
 */
export function readParameters<const K extends Readonly<Record<string, ParameterKind>>>(
  provider: string,
  search: URLSearchParams,
  kinds: K,
  others: readonly string[] = [],
): Parameters<K> {
  refuseUnknown(`${provider} setting`, search.keys(), [...Object.keys(kinds), ...others]);
  const read: Record<string, string | boolean | number> = {};
  for (const [name, kind] of Object.entries(kinds)) {
    const texts = search.getAll(name);
    if (texts.length > 1) throw new TypeError(`Cannot use ${provider} setting "${name}": it is given twice`);
    if (texts[0] !== undefined) read[name] = READERS[kind](texts[0], `${provider} setting "${name}"`);
  }
  return read as Parameters<K>;
}

/**
 * Refuses an options object with a property that the provider does not know. Properties that are `undefined` count too:
 * a misspelt one is misspelt whatever it holds. Returns the others, so that they can be laid over those of a URL.
 *
 * @throws {TypeError} if there is one, or if `options` is no object
 */
export function checkOptions<T extends object>(provider: string, options: T, known: readonly string[]): T {
  if (typeof options !== "object" || options === null || Array.isArray(options) || options instanceof URL) {
    throw new TypeError(`Cannot open ${provider}: its options must be an object, such as { url: "..." }`);
  }
  refuseUnknown(`${provider} option`, Object.keys(options), known);
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as T;
}

const READERS: { readonly [K in ParameterKind]: (text: string, what: string) => ParameterValue[K] } = {
  text: (text) => text,
  flag(text, what) {
    if (text === "true" || text === "false") return text === "true";
    throw new TypeError(`Cannot use ${what}: it must be true or false, is "${text}"`);
  },
  count(text, what) {
    if (/^\d{1,9}$/.test(text)) return Number(text);
    throw new TypeError(`Cannot use ${what}: it must be a whole number, is "${text}"`);
  },
  // A bare number is milliseconds, as in the options.
  duration: (text, what) => parseDuration((/^\d+$/.test(text) ? Number(text) : text) as Duration, what),
};
