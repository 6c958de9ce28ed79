/**
 * The metrics of the elections that are served, for Prometheus: the names of `docs/telemetry.md` as OpenTelemetry's own
 * exporter for Prometheus would have them.
 *
 * @module
 */

import type { Counter, CounterConfiguration, Histogram, OpenMetricsContentType, Registry } from "prom-client";
import type { ElectionStats, Measurement } from "../../mod.ts";
import { BOUNDARIES } from "../../src/telemetry/opentelemetry.ts";
import type { Packages } from "./packages.ts";

/** The part of an election that is read when metrics are collected. */
export interface Source {
  readonly group: string;
  readonly provider: string;
  stats(): ElectionStats;
  /** The number of readers that its stream of events has. */
  readonly readers: number;
  /** The number of readers that were dropped. */
  readonly dropped: number;
}

type Registries = NonNullable<CounterConfiguration<string>["registers"]>;
type Labels = Readonly<Record<string, string>>;

/** The metrics of all elections of a process, in both formats. */
export class Metrics {
  readonly #plain: Registry;
  readonly #open: Registry<OpenMetricsContentType>;
  /** A set for each format: prom-client gives a metric the name that one format has for it. */
  readonly #sets: readonly MetricSet[];
  readonly #sources: Source[] = [];

  constructor({ prometheus }: Packages) {
    const { Registry } = prometheus;
    this.#plain = new Registry();
    this.#open = new Registry<OpenMetricsContentType>();
    this.#open.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
    this.#sets = [this.#plain, this.#open].map((registry) => new MetricSet(prometheus, [registry], this.#sources));
  }

  /** Collects from `source` too. */
  add(source: Source): void {
    this.#sources.push(source);
    for (const set of this.#sets) set.prepare(source);
  }

  /** Takes note of a measurement of an election. */
  record(source: Pick<Source, "group" | "provider">, measurement: Measurement): void {
    for (const set of this.#sets) set.record({ group: source.group, provider: source.provider }, measurement);
  }

  /** Writes all metrics: in the format of Prometheus, or as OpenMetrics. */
  async text(format: "plain" | "open"): Promise<{ readonly text: string; readonly type: string }> {
    const registry = format === "open" ? this.#open : this.#plain;
    return { text: await registry.metrics(), type: registry.contentType };
  }
}

class MetricSet {
  readonly #counters: Readonly<Record<string, Counter>>;
  readonly #histograms: Readonly<Record<string, Histogram>>;

  constructor(
    { Counter, Gauge, Histogram }: Packages["prometheus"],
    registers: Registries,
    sources: readonly Source[],
  ) {
    const labelsOf = ({ group, provider }: Source): Labels => ({ group, provider });
    const name = (suffix: string) => `multilock_election_${suffix}`;
    const gauge = (suffix: string, help: string, read: (source: Source) => number | null) => {
      const labelNames = ["group", "provider"];
      new Gauge({
        name: suffix.startsWith("serve_") ? `multilock_${suffix}` : name(suffix),
        help,
        labelNames,
        registers,
        collect() {
          this.reset();
          for (const source of sources) {
            const value = read(source);
            if (value !== null) this.set(labelsOf(source), value);
          }
        },
      });
    };
    gauge("is_leader", "1 while this participant leads, else 0.", (source) => Number(source.stats().isLeader));
    gauge("term_token", "The fencing token of the leader that is known.", (source) => {
      const { token } = source.stats();
      return token === null ? null : Number(token);
    });
    gauge(
      "validity_remaining_seconds",
      "The least that was left lately when a renewal succeeded.",
      (source) => source.stats().validity.remaining,
    );
    gauge(
      "validity_limit_seconds",
      "For how long a renewal can be relied upon.",
      (source) => source.stats().validity.limit,
    );
    gauge("serve_event_streams", "Open streams of events.", (source) => source.readers);
    gauge("serve_dropped_readers", "Readers that did not keep up, and were dropped.", (source) => source.dropped);
    const counter = (suffix: string, help: string, ...more: string[]) =>
      new Counter({ name: name(`${suffix}_total`), help, labelNames: ["group", "provider", ...more], registers });
    this.#counters = {
      "terms": counter("terms", "Terms that have ended, by reason.", "reason"),
      "renewals": counter("renewals", "Renewals of the lease, by outcome.", "outcome"),
      "provider.errors": counter("provider_errors", "Calls to the provider that failed, by operation.", "operation"),
    };
    const histogram = (suffix: string, help: string, ...more: string[]) => {
      const labelNames = ["group", "provider", ...more];
      return new Histogram({ name: name(`${suffix}_seconds`), help, labelNames, buckets: [...BOUNDARIES], registers });
    };
    this.#histograms = {
      "renew.duration": histogram("renew_duration", "How long renewals took.", "outcome"),
      "acquire.duration": histogram("acquire_duration", "How long it took to ask for the lease.", "outcome"),
      "leaderless.duration": histogram("leaderless_duration", "Times without a known leader."),
      "drain.duration": histogram("drain_duration", "How long work took to drain."),
    };
  }

  /** Makes the series of counters: one that is there from the first scrape on shows its first step. */
  prepare({ group, provider, stats }: Source): void {
    const { terms, renewals } = stats();
    for (const reason of Object.keys(terms)) this.#counters["terms"]?.inc({ group, provider, reason }, 0);
    for (const outcome of Object.keys(renewals)) this.#counters["renewals"]?.inc({ group, provider, outcome }, 0);
    for (const operation of ["acquire", "renew", "release", "read"]) {
      this.#counters["provider.errors"]?.inc({ group, provider, operation }, 0);
    }
  }

  record(labels: Labels, { name, value, ...more }: Measurement): void {
    this.#counters[name]?.inc({ ...labels, ...more }, value);
    this.#histograms[name]?.observe({ ...labels, ...more }, value);
  }
}
