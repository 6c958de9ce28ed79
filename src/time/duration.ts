/**
 * Durations at the public edge; inside, everything is milliseconds.
 *
 * @module
 */

/** A length of time: a bare number is milliseconds, a string names its unit (`"250ms"`, `"5s"`, `"1.5m"`, `"1h"`). */
export type Duration = number | `${number}${"ms" | "s" | "m" | "h"}`;

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/**
 * Returns `duration` in whole milliseconds, rounded. `name` is what the error calls it.
 *
 * @throws {TypeError} if it is neither a number nor a number with a unit
 * @throws {RangeError} if it is negative, not finite, or longer than 24 days (the longest timer of a runtime)
 */
export function parseDuration(duration: Duration, name = "duration"): number {
  const ms = typeof duration === "number" ? duration : parseText(duration, name);
  if (!Number.isFinite(ms) || ms < 0 || ms > 2 ** 31 - 1) {
    throw new RangeError(`Cannot use ${name} "${duration}": it must be between 0 and 2147483647 ms`);
  }
  return Math.round(ms);
}

function parseText(text: unknown, name: string): number {
  const match = typeof text === "string" ? /^(\d+(?:\.\d+)?)(ms|s|m|h)$/.exec(text) : null;
  if (match === null) {
    throw new TypeError(`Cannot use ${name} "${text}": it must be milliseconds, or a number with ms, s, m or h`);
  }
  return Number(match[1]) * (UNIT_MS[match[2] ?? ""] ?? NaN);
}
