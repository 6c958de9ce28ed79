/**
 * Where an election says what it does.
 *
 * @module
 */

/** A sink for messages, such as `console` or a logger of LogTape or pino's shape. Credentials never reach it. */
export interface Logger {
  /** Every call and its outcome; only with `enableDetailedLogging`. */
  debug(message: string, properties?: Record<string, unknown>): void;
  /** Terms that begin and end. */
  info(message: string, properties?: Record<string, unknown>): void;
  /** Calls that failed and will be tried again. */
  warn(message: string, properties?: Record<string, unknown>): void;
  /** Failures that need a person. */
  error(message: string, properties?: Record<string, unknown>): void;
}

/** How an election logs. */
export type Log = (level: "debug" | "info" | "warn", message: string, properties: Record<string, unknown>) => void;

/** Returns what logs for one election, each message with its names; `debug` only where that is wanted. */
export function logOf(
  { logger, detailed, electionGroup, participantId }: {
    readonly logger: Logger | undefined;
    readonly detailed: boolean;
    readonly electionGroup: string;
    readonly participantId: string;
  },
): Log {
  return (level, message, properties) => {
    if (logger === undefined || (level === "debug" && !detailed)) return;
    try {
      logger[level](message, { electionGroup, participantId, ...properties });
    } catch {
      // A logger that fails must not take the election with it, and there is nobody else to tell.
    }
  };
}
