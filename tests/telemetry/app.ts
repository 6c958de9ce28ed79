/**
 * An application that leads, works, and ends: with the exporter of Deno, where `OTEL_DENO` turns it on, else with the
 * SDK of OpenTelemetry, which it sets up before it enters the election.
 */

import process from "node:process";
import { context, metrics, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-http";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { MeterProvider, PeriodicExportingMetricReader } from "@opentelemetry/sdk-metrics";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { elect } from "../../mod.ts";

const flush: (() => Promise<void>)[] = [];
if (!("Deno" in globalThis)) {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  const tracers = new TracerProvider({
    spanProcessors: [new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })],
  });
  trace.setGlobalTracerProvider(tracers);
  const reader = new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter(), exportIntervalMillis: 100 });
  const meters = new MeterProvider({ readers: [reader] });
  metrics.setGlobalMeterProvider(meters);
  flush.push(() => tracers.shutdown(), () => meters.shutdown());
}

const election = await elect("memory:", {
  electionGroup: "observed",
  participantId: "observed-participant",
  metadata: { secret: "observed-metadata" },
  heartbeatInterval: 100,
});
await election.run(async (term) => {
  const span = trace.getTracer("app").startSpan("work");
  while (!term.signal.aborted && election.stats().renewals.renewed < 3) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  // Long enough for gauges to be collected while it leads.
  await new Promise((resolve) => setTimeout(resolve, 500));
  span.end();
});
await election.stop();
for (const each of flush) await each();
// Long enough for Deno's exporter to send what came last.
await new Promise((resolve) => setTimeout(resolve, 500));
console.log("done");
process.exit();
