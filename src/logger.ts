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
  /** What needs a person. */
  error(message: string, properties?: Record<string, unknown>): void;
}
