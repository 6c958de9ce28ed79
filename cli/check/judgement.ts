/**
 * The consequences of times and clocks for an election.
 *
 * @module
 */

import type { Finding } from "../../mod.ts";
import type { ElectionConfig } from "../../src/options.ts";
import type { RoundTrip } from "./round_trip.ts";

/** A larger difference between clocks is worth a warning, in milliseconds. */
const MAX_OFFSET_MS = 1_000;

/** Judges how long questions take against how long they may. */
export function judgeRoundTrip({ median, max }: RoundTrip, { requestTimeout }: ElectionConfig): Finding {
  const about = "round trip";
  const remedy = "a backend that is nearer, or a longer --heartbeat-timeout";
  if (median * 4 > requestTimeout) {
    const text = `a round trip takes ${ms(median)}, over a quarter of requestTimeout: heartbeats may fail under load`;
    return { about, level: "warning", text, remedy };
  }
  if (max * 2 > requestTimeout) {
    const text = `one of them took ${ms(max)}, over half of requestTimeout: heartbeats will now and then be sent twice`;
    return { about, level: "warning", text, remedy };
  }
  return { about, level: "ok", text: `far within requestTimeout, which is ${ms(requestTimeout)}` };
}

/** Judges the difference between the clock of the backend and this host's. No decision rests on it. */
export function judgeClock(offsetMs: number): Finding {
  const about = "clock offset";
  const text = `the backend's clock is ${ms(Math.abs(offsetMs))} ${offsetMs < 0 ? "behind" : "ahead of"} this host's`;
  if (Math.abs(offsetMs) <= MAX_OFFSET_MS) return { about, level: "ok", text };
  return {
    about,
    level: "warning",
    text: `${text}: no lease depends on that, but times in logs do not compare, and a correction is a step`,
    remedy: "keep both synchronised by slewing, as chrony does",
  };
}

/** The inequality that makes a term safe, with its numbers; it held, or the election would have been refused. */
export function explainTiming(
  { heartbeatInterval, heartbeatTimeout, requestTimeout, validFor }: ElectionConfig,
): string[] {
  const spare = validFor - heartbeatInterval - requestTimeout;
  return [
    `heartbeatInterval + requestTimeout < time for which a heartbeat of ${heartbeatTimeout} ms can be relied upon`,
    `${heartbeatInterval} + ${requestTimeout} < ${ms(validFor)}: holds, with ${ms(spare)} to spare`,
    `a leader that freezes is replaced within ${heartbeatTimeout} ms and one look`,
  ];
}

/** Milliseconds as people read them. */
export function ms(value: number): string {
  return `${Number(value.toFixed(value < 10 ? 2 : 0))} ms`;
}
