/**
 * The options of an election, their defaults, and every check of it. All checks happen before any I/O.
 *
 * @module
 */

import { type Clock, systemClock } from "./time/clock.ts";
import { type Duration, parseDuration } from "./time/duration.ts";
import { ConfigError } from "./errors.ts";
import { checkMethods, checkSignal } from "./call_options.ts";
import { everythingTo, type Logger, warningsTo } from "./logger.ts";
import { refuseUnknown } from "./spelling.ts";
import type { Measurement } from "./telemetry/measurement.ts";

/**
 * The settings of an election. Only `electionGroup` is required. Durations are milliseconds, or text such as `"5s"`.
 */
export interface ElectionOptions {
  /** The election group: the name that participants compete for. Matches `/^[A-Za-z0-9_.-]{1,255}$/`. */
  readonly electionGroup: string;
  /**
   * The name of this participant; the same expression. @default the host name, the process id and 8 random hex digits
   */
  readonly participantId?: string | undefined;
  /**
   * Facts about the leader for others to see: at most 100 entries, keys of 1 to 255 characters, values of up to 4,000,
   * in all 65,536 bytes as JSON in UTF-8. @default {}
   */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /**
   * The interval at which the leader renews its lease. @default "5s", or a third of `heartbeatTimeout` if that is less
   */
  readonly heartbeatInterval?: Duration | undefined;
  /** The time for which the lease lives without a heartbeat. @default "15s" */
  readonly heartbeatTimeout?: Duration | undefined;
  /**
   * The longest a follower goes without looking, where the backend gives no hints. Jittered downwards by up to a
   * quarter. @default "5s"
   */
  readonly electionInterval?: Duration | undefined;
  /** The longest one `acquire` may take. @default "5s" */
  readonly lockTimeout?: Duration | undefined;
  /**
   * The longest any other call may take. @default the smaller of `heartbeatInterval` and a third of `heartbeatTimeout`
   */
  readonly requestTimeout?: Duration | undefined;
  /** The time before the end of the lease at which the leader stops leading. @default a tenth of `heartbeatTimeout` */
  readonly safetyMargin?: Duration | undefined;
  /** By what fraction a participant's clock may run slower than the backend's. @default 0.001 */
  readonly clockRateError?: number | undefined;
  /**
   * The time that `work` may take to settle after its signal aborted, before the lease is released all the same.
   * @default "5s"
   */
  readonly drainTimeout?: Duration | undefined;
  /** The number of times that a failed look is repeated before the follower waits for `electionInterval`. @default 3 */
  readonly maxRetryAttempts?: number | undefined;
  /**
   * The bound of the first back-off; it doubles with each failure, and the wait is random below it. @default "100ms"
   */
  readonly retryBaseDelay?: Duration | undefined;
  /** The largest bound of a back-off. @default "5s" */
  readonly retryMaxDelay?: Duration | undefined;
  /**
   * The time for which this participant holds back after it has seen that nobody leads, so that those with a shorter
   * one lead first: 0 for whom to prefer, some seconds for the others. A group with nobody better still gets a leader,
   * that much
   * later. While it holds back it only reads. A hint to itself: no promise rests on it, and `tryAcquireLeadership` asks
   * all the same. @default 0
   */
  readonly campaignDelay?: Duration | undefined;
  /** Lets `elect` start the election. @default true */
  readonly autoStart?: boolean | undefined;
  /** Watch only: never campaign, never write. @default false */
  readonly observer?: boolean | undefined;
  /**
   * Says whether this participant is fit to lead; asked before each look and with each heartbeat. Anything but `true`,
   * a rejection, and no answer within `requestTimeout` mean: step down, and do not campaign.
   */
  readonly healthCheck?: ((options: { signal: AbortSignal }) => boolean | Promise<boolean>) | undefined;
  /**
   * The sink for what the election says. `null` silences it. @default warnings to `console.warn`, each distinct one at
   * once and then at most once a minute
   */
  readonly logger?: Logger | null | undefined;
  /**
   * Gives the logger also every call to the backend, and so every look and heartbeat, with its outcome and duration.
   * Without a `logger` they go to `console.debug`, with the terms that begin and end. @default false
   */
  readonly enableDetailedLogging?: boolean | undefined;
  /**
   * Called with each measurement, in the turn in which it is made; {@linkcode LeaderElection.stats} has the sums. What
   * it throws is logged, and harms nothing else. OpenTelemetry gets the same numbers, where it is set up.
   */
  readonly onMeasurement?: ((measurement: Measurement) => void) | undefined;
  /** The source of time. @default the clock of the machine */
  readonly clock?: Clock | undefined;
  /** The source of jitter, at least 0 and less than 1. @default Math.random */
  readonly random?: (() => number) | undefined;
  /** Stops the election when it aborts, started or not. */
  readonly signal?: AbortSignal | undefined;
}

/** Every option: a name that is not among them is refused. */
const OPTIONS = Object.keys(
  {
    electionGroup: 0,
    participantId: 0,
    metadata: 0,
    heartbeatInterval: 0,
    heartbeatTimeout: 0,
    electionInterval: 0,
    lockTimeout: 0,
    requestTimeout: 0,
    safetyMargin: 0,
    clockRateError: 0,
    drainTimeout: 0,
    maxRetryAttempts: 0,
    retryBaseDelay: 0,
    retryMaxDelay: 0,
    campaignDelay: 0,
    autoStart: 0,
    observer: 0,
    healthCheck: 0,
    logger: 0,
    enableDetailedLogging: 0,
    onMeasurement: 0,
    clock: 0,
    random: 0,
    signal: 0,
  } satisfies Record<keyof ElectionOptions, 0>,
);

/** The options of an election with every default filled in; times in milliseconds. */
export interface ElectionConfig {
  readonly electionGroup: string;
  readonly participantId: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly heartbeatInterval: number;
  readonly heartbeatTimeout: number;
  readonly electionInterval: number;
  readonly lockTimeout: number;
  readonly requestTimeout: number;
  readonly drainTimeout: number;
  readonly maxRetryAttempts: number;
  readonly retryBaseDelay: number;
  readonly retryMaxDelay: number;
  readonly campaignDelay: number;
  /** The time from the request for it during which a lease may be relied upon. */
  readonly validFor: number;
  readonly observer: boolean;
  readonly healthCheck: ElectionOptions["healthCheck"];
  readonly logger: Logger | null;
  readonly detailed: boolean;
  readonly onMeasurement: ElectionOptions["onMeasurement"];
  readonly clock: Clock;
  readonly random: () => number;
  readonly signal: AbortSignal | undefined;
}

/**
 * Checks `options` and fills in the defaults.
 *
 * @throws {TypeError} if an option is of the wrong type, or a name or key is malformed
 * @throws {RangeError} if a number is out of its range or metadata is over its limits
 * @throws {ConfigError} if the timing would not be safe
 */
export function resolveOptions(options: ElectionOptions): ElectionConfig {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`Cannot use options ${show(options)}: they must be an object with an electionGroup`);
  }
  refuseUnknown("option", Object.keys(options), OPTIONS);
  const timing = resolveTiming(options);
  checkTypes(options);
  return {
    electionGroup: checkName("electionGroup", options.electionGroup),
    participantId: checkName("participantId", options.participantId ?? defaultParticipantId()),
    metadata: checkMetadata(options.metadata ?? {}),
    ...timing,
    observer: options.observer ?? false,
    healthCheck: options.healthCheck,
    logger: options.logger !== undefined
      ? checkLogger(options.logger)
      : options.enableDetailedLogging
      ? DETAILED_CONSOLE
      : CONSOLE,
    detailed: options.enableDetailedLogging ?? false,
    onMeasurement: options.onMeasurement,
    clock: options.clock ?? systemClock,
    random: options.random ?? Math.random,
    signal: options.signal,
  };
}

/**
 * Returns `name` if it can name a group or a participant.
 *
 * @throws {TypeError} if it does not match `/^[A-Za-z0-9_.-]{1,255}$/`
 */
export function checkName(what: "electionGroup" | "participantId", name: string): string {
  // `$` without the `m` flag matches only at the very end in JavaScript, so a trailing newline is refused too.
  if (typeof name === "string" && /^[A-Za-z0-9_.-]{1,255}$/.test(name)) return name;
  throw new TypeError(`Cannot use ${what} ${show(name)}: it must match /^[A-Za-z0-9_.-]{1,255}$/`);
}

/**
 * Returns a copy of `metadata` if it is within its limits.
 *
 * @throws {TypeError} if it is not an object of strings
 * @throws {RangeError} if it has more than 100 entries, a key of 0 or more than 255 characters, a value of more than
 * 4,000, or more than 65,536 bytes as JSON in UTF-8
 */
export function checkMetadata(metadata: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) {
    throw new TypeError(`Cannot use metadata ${show(metadata)}: it must be an object of strings`);
  }
  // Read once: what a getter returns later, and what a `toJSON` makes of it, was not checked.
  const entries = Object.entries(metadata);
  if (entries.length > 100) {
    throw new RangeError(`Cannot use metadata of ${entries.length} entries: it must have at most 100`);
  }
  for (const [key, value] of entries) {
    if (key.length < 1 || key.length > 255) {
      throw new RangeError(`Cannot use metadata key ${show(key)} of ${key.length} characters: it must have 1 to 255`);
    }
    if (typeof value !== "string") {
      throw new TypeError(`Cannot use metadata value ${show(value)} of key ${show(key)}: it must be a string`);
    }
    if (value.length > 4_000) {
      throw new RangeError(
        `Cannot use metadata value of ${value.length} characters of key ${show(key)}: it must have at most 4000`,
      );
    }
    if (!key.isWellFormed() || !value.isWellFormed() || key.includes("\0") || value.includes("\0")) {
      throw new TypeError(`Cannot use metadata of key ${show(key)}: it must be well-formed Unicode without U+0000`);
    }
  }
  const copy = Object.fromEntries(entries);
  const bytes = new TextEncoder().encode(JSON.stringify(copy)).length;
  if (bytes > MAX_METADATA_BYTES) {
    throw new RangeError(
      `Cannot use metadata of ${bytes} bytes: as JSON in UTF-8 it must have at most ${MAX_METADATA_BYTES}`,
    );
  }
  return Object.freeze(copy);
}

/** One for all elections of the process, so that a thousand of them do not say the same a thousand times. */
const CONSOLE = warningsTo((text) => console.warn(text), systemClock);
const DETAILED_CONSOLE = everythingTo((text) => console.debug(text), CONSOLE);

function checkLogger(logger: Logger | null): Logger | null {
  if (logger === null) return null;
  for (const level of ["debug", "info", "warn"] as const) {
    if (typeof logger?.[level] === "function") continue;
    throw new TypeError(
      `Cannot use logger ${show(logger)}: it must be null, or have debug, info and warn as functions`,
    );
  }
  return logger;
}

/** The size that the smallest backend can keep beside the record of a term. */
const MAX_METADATA_BYTES = 65_536;

function resolveTiming(options: ElectionOptions) {
  const heartbeatTimeout = positive("heartbeatTimeout", options.heartbeatTimeout ?? 15_000);
  const heartbeatInterval = positive(
    "heartbeatInterval",
    options.heartbeatInterval ?? Math.max(1, Math.min(5_000, Math.floor(heartbeatTimeout / 3))),
  );
  const requestTimeout = positive(
    "requestTimeout",
    options.requestTimeout ?? Math.max(1, Math.min(heartbeatInterval, Math.floor(heartbeatTimeout / 3))),
  );
  const safetyMargin = parseDuration(options.safetyMargin ?? heartbeatTimeout / 10, "safetyMargin");
  const clockRateError = inRange("clockRateError", options.clockRateError ?? 0.001, 0, 0.5);
  // Others may lead once `heartbeatTimeout` has passed on the backend's clock, counted from some moment after the
  // request was sent. On ours, which may run slower, no more than this has passed by then.
  const validFor = heartbeatTimeout * (1 - clockRateError) - safetyMargin;
  if (!(heartbeatInterval + requestTimeout < validFor)) {
    throw new ConfigError(
      `Cannot use this timing: heartbeatInterval + requestTimeout must be less than ` +
        `heartbeatTimeout * (1 - clockRateError) - safetyMargin, but ` +
        `${heartbeatInterval} + ${requestTimeout} >= ` +
        `${heartbeatTimeout} * (1 - ${clockRateError}) - ${safetyMargin} (ms)`,
    );
  }
  const maxRetryAttempts = options.maxRetryAttempts ?? 3;
  if (!Number.isInteger(maxRetryAttempts)) {
    throw new TypeError(`Cannot use maxRetryAttempts ${show(maxRetryAttempts)}: it must be a whole number`);
  }
  return {
    heartbeatInterval,
    heartbeatTimeout,
    requestTimeout,
    validFor,
    electionInterval: positive("electionInterval", options.electionInterval ?? 5_000),
    lockTimeout: positive("lockTimeout", options.lockTimeout ?? 5_000),
    drainTimeout: parseDuration(options.drainTimeout ?? 5_000, "drainTimeout"),
    maxRetryAttempts: inRange("maxRetryAttempts", maxRetryAttempts, 0, 1_000),
    retryBaseDelay: positive("retryBaseDelay", options.retryBaseDelay ?? 100),
    retryMaxDelay: positive("retryMaxDelay", options.retryMaxDelay ?? 5_000),
    campaignDelay: parseDuration(options.campaignDelay ?? 0, "campaignDelay"),
  };
}

function positive(name: string, duration: Duration): number {
  const ms = parseDuration(duration, name);
  if (ms < 1) throw new RangeError(`Cannot use ${name} "${duration}": it must be at least 1 ms`);
  return ms;
}

function inRange(name: string, value: number, low: number, high: number): number {
  if (typeof value === "number" && value >= low && value <= high) return value;
  throw new RangeError(`Cannot use ${name} ${show(value)}: it must be between ${low} and ${high}`);
}

function checkTypes(options: ElectionOptions): void {
  for (const name of ["autoStart", "observer", "enableDetailedLogging"] as const) {
    if (options[name] !== undefined && typeof options[name] !== "boolean") {
      throw new TypeError(`Cannot use ${name} ${show(options[name])}: it must be true or false`);
    }
  }
  for (const name of ["healthCheck", "random", "onMeasurement"] as const) {
    if (options[name] !== undefined && typeof options[name] !== "function") {
      throw new TypeError(`Cannot use ${name} ${show(options[name])}: it must be a function`);
    }
  }
  if (options.clock) checkMethods("clock", options.clock, ["monotonic", "wall", "setTimer"]);
  checkSignal("signal", options.signal);
}

function show(value: unknown): string {
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "[an array]" : "[an object]";
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function defaultParticipantId(): string {
  const random = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  const host = hostName().replace(/[^A-Za-z0-9_.-]/g, "-").slice(0, 200);
  return `${host}-${globalThis.process.pid}-${random.toString(16).padStart(8, "0")}`;
}

/**
 * The host name makes ids readable, no more: the random digits make them unique. So a refused permission is no error.
 */
function hostName(): string {
  try {
    return globalThis.process.getBuiltinModule("node:os").hostname();
  } catch {
    return "host";
  }
}
