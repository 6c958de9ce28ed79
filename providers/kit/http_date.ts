/**
 * The clock of a backend, as its answers over HTTP have it.
 *
 * @module
 */

/**
 * Returns how far a backend's clock is ahead of this host's, in milliseconds, to half a second: `date` is the `Date` of
 * an answer, which leaves out the milliseconds; `sent` and `answered` are times of this host. Null without a date.
 */
export function offsetOf(date: string | Date | null | undefined, sent: number, answered: number): number | null {
  const at = date === null || date === undefined ? NaN : new Date(date).getTime();
  return Number.isNaN(at) ? null : at + 500 - (sent + answered) / 2;
}
