/**
 * Where an election says what it does.
 *
 * @module
 */

import type { Clock } from "./time/clock.ts";

/** A sink for messages, such as `console` or a logger of LogTape or pino's shape. Credentials never reach it. */
export interface Logger {
  /** Every look and heartbeat, and its outcome; only with `enableDetailedLogging`. */
  debug(message: string, properties?: Record<string, unknown>): void;
  /** Terms that begin and end. */
  info(message: string, properties?: Record<string, unknown>): void;
  /** Calls that failed and will be tried again. */
  warn(message: string, properties?: Record<string, unknown>): void;
}

/** The log of an election. */
export type Log = (level: "debug" | "info" | "warn", message: string, properties: Record<string, unknown>) => void;

/** Returns what logs for one election, each message with its names; `debug` only where that is wanted. */
export function logOf(
  { logger, detailed, electionGroup, participantId }: {
    readonly logger: Logger | null;
    readonly detailed: boolean;
    readonly electionGroup: string;
    readonly participantId: string;
  },
): Log {
  return (level, message, properties) => {
    if (level === "debug" && !detailed) return;
    tell(logger, level, message, { electionGroup, participantId, ...properties });
  };
}

/**
 * Tells `logger`, if there is one. Neither one that throws nor one whose promise rejects may take with it who tells,
 * and there is nobody else to tell of that.
 */
export function tell(
  logger: Logger | null | undefined,
  level: "debug" | "info" | "warn",
  message: string,
  properties: Record<string, unknown>,
): void {
  try {
    const told: unknown = logger?.[level](message, properties);
    if (told instanceof Promise) told.catch(() => {});
  } catch {
    // The caller goes on.
  }
}

/**
 * Returns the logger of those who give none and want to know everything: as {@linkcode warningsTo} does, and each other
 * message to `write`.
 */
export function everythingTo(write: (text: string) => void, warnings: Logger): Logger {
  const say = (message: string, { electionGroup, participantId: _, ...properties }: Record<string, unknown> = {}) => {
    const said = Object.entries(properties).filter(([, value]) => value !== undefined).map(([key, value]) =>
      `${key}: ${value instanceof Error ? value.message : value}`
    ).join(", ");
    write(`@multilock/core: ${message} in election "${electionGroup}"${said === "" ? "" : ` (${said})`}`);
  };
  return { debug: say, info: say, warn: (message, properties) => warnings.warn(message, properties) };
}

/** The time for which the same warning is counted instead of written, in milliseconds. */
const QUIET_MS = 60_000;
/**
 * The number of different warnings that are remembered; beyond it the oldest is forgotten, and may be written again.
 */
const REMEMBERED = 1_000;

interface Told {
  readonly at: number;
  /** The number of times that it came again since. */
  again: number;
}

/**
 * Returns what tells a message that is to be written from one that is to be counted, by the text that makes it the
 * same: each distinct one is written at once, and then at most once a minute. It answers how many were counted since,
 * or null for one more of them.
 */
export function seldom(clock: Clock): (same: string) => number | null {
  const told = new Map<string, Told>();
  return (same) => {
    const now = clock.monotonic();
    const last = told.get(same);
    if (last !== undefined && now - last.at < QUIET_MS) {
      last.again++;
      return null;
    }
    told.delete(same);
    told.set(same, { at: now, again: 0 });
    const [oldest] = told.keys();
    if (told.size > REMEMBERED && oldest !== undefined) told.delete(oldest);
    return last?.again ?? 0;
  };
}

/**
 * Returns the logger of those who give none: warnings go to `console.warn`, each distinct one at once and then at most
 * once a minute with a count. Warnings are the same if message and error are, whatever the participant.
 */
export function warningsTo(write: (text: string) => void, clock: Clock): Logger {
  const counted = seldom(clock);
  return {
    debug() {},
    info() {},
    warn(message, { electionGroup, error } = {}) {
      const why = error === undefined ? "" : `: ${error instanceof Error ? error.message : error}`;
      const again = counted(`${message} ${electionGroup}${why}`);
      if (again === null) return;
      const count = again > 0 ? ` (${again} more times in between)` : "";
      write(`@multilock/core: ${message} in election "${electionGroup}"${why}${count}`);
    },
  };
}
