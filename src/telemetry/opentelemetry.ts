/**
 * The seam to OpenTelemetry. It is there only for an application that has set it up; without, nothing is imported.
 *
 * @module
 */

import type { LostReason, ProviderOperation } from "../errors.ts";
import type { Measurement } from "./measurement.ts";

/**
 * Where every copy of `@opentelemetry/api` 1.x keeps what an SDK has registered, and Deno its own. Without it all of
 * the API would do nothing, so it is not even loaded.
 */
const REGISTERED = Symbol.for("opentelemetry.js.api.1");
const [NAME, METRIC] = ["@multilock/core", "multilock.election."];
/** The kind of a span that waits for a server, and the status of one that failed, as the API numbers them. */
const [CLIENT, ERROR] = [2, 2];
/** The bounds of histograms: from a round trip in memory to a lease that had to expire, in seconds. */
export const BOUNDARIES: readonly number[] = [
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
  30,
  60,
];

/** The part of `@opentelemetry/api` that is used here. */
interface Api {
  readonly metrics: { getMeter(name: string): Meter };
  readonly trace: {
    getTracer(name: string): { startSpan(name: string, options: object, context?: unknown): ApiSpan };
    setSpan(context: unknown, span: ApiSpan): unknown;
  };
  readonly context: { active(): unknown; with<T>(context: unknown, work: () => T): T };
}

interface Meter {
  createCounter(name: string, options: object): { add(value: number, attributes: object): void };
  createHistogram(name: string, options: object): { record(value: number, attributes: object): void };
  createObservableGauge(name: string, options: object): object;
  addBatchObservableCallback(callback: (result: Result) => void, observables: object[]): void;
  removeBatchObservableCallback(callback: (result: Result) => void, observables: object[]): void;
}

interface Result {
  observe(gauge: object, value: number, attributes: object): void;
}

interface ApiSpan {
  setAttribute(name: string, value: string): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  spanContext(): object;
  end(): void;
}

/** A span of one call. */
export interface Span {
  setAttribute(name: string, value: string): void;
  fail(error: unknown): void;
  end(): void;
}

/** The attributes of an election. No metadata, and no participant: others' are not ours to tell. */
interface Attributes {
  readonly group: string;
  readonly provider: string;
}

/** The state that is read when metrics are collected. */
interface Gauges {
  readonly leads: boolean;
  readonly token: bigint | null;
  readonly remaining: number | null;
  readonly limit: number;
}

let loaded: Promise<OpenTelemetry | null> | null = null;

/**
 * Returns OpenTelemetry if the application has set it up by now; null at once if it has not. The promise never rejects:
 * `onMissing` is told of an SDK without an API that can be loaded from here, and the promise then has null.
 */
export function openTelemetry(onMissing: (why: unknown) => void): Promise<OpenTelemetry | null> | null {
  if (!(REGISTERED in globalThis)) return null;
  loaded ??= load().catch((why) => {
    onMissing(why);
    loaded = null;
    return null;
  });
  return loaded;
}

/** Literal imports, so that bundlers and caches see them; in Deno a module from a URL has no bare names. */
async function load(): Promise<OpenTelemetry> {
  let api: unknown;
  try {
    api = await import("@opentelemetry/api");
  } catch (error) {
    if (!("Deno" in globalThis)) throw error;
    api = await import("npm:@opentelemetry/api@1");
  }
  return new OpenTelemetry(api as Api);
}

/** The instruments, once for all elections of a process. */
export class OpenTelemetry {
  readonly api: Api;
  readonly #counters: Readonly<Record<string, ReturnType<Meter["createCounter"]>>>;
  readonly #histograms: Readonly<Record<string, ReturnType<Meter["createHistogram"]>>>;
  readonly #sources = new Map<() => Gauges, Attributes>();
  readonly #observe: () => void;
  readonly #ignore: () => void;

  constructor(api: Api) {
    this.api = api;
    const meter = api.metrics.getMeter(NAME);
    const counter = (name: string, unit: string, description: string) =>
      meter.createCounter(METRIC + name, { unit, description });
    const histogram = (name: string, description: string) =>
      meter.createHistogram(METRIC + name, {
        unit: "s",
        description,
        advice: { explicitBucketBoundaries: [...BOUNDARIES] },
      });
    const gauge = (name: string, unit: string, description: string) =>
      meter.createObservableGauge(METRIC + name, { unit, description });
    this.#counters = {
      "terms": counter("terms", "{term}", "Terms that have ended, by reason."),
      "renewals": counter("renewals", "{renewal}", "Renewals of the lease, by outcome."),
      "provider.errors": counter("provider.errors", "{error}", "Calls to the provider that failed, by operation."),
    };
    this.#histograms = {
      "renew.duration": histogram("renew.duration", "How long renewals took."),
      "acquire.duration": histogram("acquire.duration", "How long it took to ask for the lease."),
      "leaderless.duration": histogram("leaderless.duration", "Times without a known leader."),
      "drain.duration": histogram("drain.duration", "How long work took to drain."),
    };
    const leader = gauge("is_leader", "1", "1 while this participant leads, else 0.");
    const token = gauge("term.token", "1", "The fencing token of the leader that is known.");
    const remaining = gauge("validity.remaining", "s", "The least that was left lately when a renewal succeeded.");
    const limit = gauge("validity.limit", "s", "For how long a renewal can be relied upon.");
    const gauges = [leader, token, remaining, limit];
    const callback = (result: Result) => {
      for (const [read, attributes] of this.#sources) {
        const now = read();
        result.observe(leader, Number(now.leads), attributes);
        result.observe(limit, now.limit, attributes);
        if (now.token !== null) result.observe(token, Number(now.token), attributes);
        if (now.remaining !== null) result.observe(remaining, now.remaining, attributes);
      }
    };
    this.#observe = () => meter.addBatchObservableCallback(callback, gauges);
    this.#ignore = () => meter.removeBatchObservableCallback(callback, gauges);
  }

  /** Returns what reports for one election. */
  meter(attributes: Attributes, read: () => Gauges): ElectionMeter {
    this.#sources.set(read, attributes);
    if (this.#sources.size === 1) this.#observe();
    return new ElectionMeter(this, attributes, () => {
      this.#sources.delete(read);
      if (this.#sources.size === 0) this.#ignore();
    });
  }

  record({ name, value, ...more }: Measurement, attributes: Attributes): void {
    const all = { ...attributes, ...more };
    this.#counters[name]?.add(value, all);
    this.#histograms[name]?.record(value, all);
  }
}

/** Reports for one election. */
export class ElectionMeter {
  readonly #telemetry: OpenTelemetry;
  readonly #attributes: Attributes;
  readonly #close: () => void;
  readonly #tracer: ReturnType<Api["trace"]["getTracer"]>;
  #term: ApiSpan | null = null;
  /** True while its span has not ended. */
  #leads = false;
  /** The span of the last `acquire`. */
  #acquire: ApiSpan | null = null;

  constructor(telemetry: OpenTelemetry, attributes: Attributes, close: () => void) {
    this.#telemetry = telemetry;
    this.#attributes = attributes;
    this.#close = close;
    this.#tracer = telemetry.api.trace.getTracer(NAME);
  }

  /** Reports no more. */
  close(): void {
    this.#close();
  }

  record(measurement: Measurement): void {
    this.#telemetry.record(measurement, this.#attributes);
  }

  /**
   * Starts the span of a call, linked to the term: no child of it, or one trace would have all heartbeats of a month.
   * Calls that only read have none.
   */
  startCall(operation: ProviderOperation): Span | undefined {
    if (operation !== "acquire" && operation !== "renew" && operation !== "release") return undefined;
    const span = this.#start(`multilock.${operation}`, operation === "acquire" ? null : this.#term, CLIENT);
    if (operation === "acquire") this.#acquire = span;
    return {
      setAttribute: (name, value) => void span.setAttribute(name, value),
      fail(error) {
        span.setStatus({ code: ERROR, message: error instanceof Error ? error.message : String(error) });
        span.setAttribute("error.type", error instanceof Error ? error.name : typeof error);
      },
      end: () => span.end(),
    };
  }

  /** Starts the span of a term, linked to the `acquire` that won it. */
  beginTerm(token: bigint): void {
    this.#term = this.#start("multilock.term", this.#acquire, 0);
    this.#leads = true;
    this.#term.setAttribute("token", String(token));
    this.#acquire = null;
  }

  /** Ends the span of the term, if there is one. Calls that follow, such as its release, stay linked to it. */
  endTerm(reason: LostReason): void {
    if (!this.#leads) return;
    this.#leads = false;
    this.#term?.setAttribute("reason", reason);
    this.#term?.end();
  }

  /** Calls `work` as a child of the span of the term. */
  within<T>(work: () => T): T {
    const { trace, context } = this.#telemetry.api;
    return this.#term === null ? work() : context.with(trace.setSpan(context.active(), this.#term), work);
  }

  #start(name: string, linked: ApiSpan | null, kind: number): ApiSpan {
    const links = linked === null ? [] : [{ context: linked.spanContext() }];
    return this.#tracer.startSpan(name, { kind, root: true, links, attributes: { ...this.#attributes } });
  }
}
