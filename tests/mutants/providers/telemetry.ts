/** Defects of what an election tells of itself: `stats()`, `onMeasurement` and OpenTelemetry. */

import type { ProviderMutant } from "../provider_mutant.ts";

const TELEMETRY = "src/telemetry/telemetry.ts";
const SEAM = "src/telemetry/opentelemetry.ts";
const STATS = "tests/telemetry/telemetry_test.ts";
const API = "tests/telemetry/opentelemetry_test.ts";
const COLLECTOR = "tests/telemetry/opentelemetry_deno_test.ts";
const SENDS = "spans linked to those of terms, on deno";

/** Each must be noticed by the tests of the telemetry. */
export const MUTANTS: readonly ProviderMutant[] = [
  stats("a renewal is counted twice", "this.#renewals[outcome]++;", "this.#renewals[outcome] += 2;", "counts terms"),
  stats(
    "a renewal is told twice",
    '      this.#tell({ name: "renewals", value: 1, outcome });\n',
    '      this.#tell({ name: "renewals", value: 1, outcome });\n'.repeat(2),
    "costs the telemetry",
  ),
  stats(
    "a failure is counted twice",
    "(errors[call.operation] ?? 0) + 1;",
    "(errors[call.operation] ?? 0) + 2;",
    "slow backend",
  ),
  stats("what is left is in milliseconds", "const left = leftMs / 1_000;", "const left = leftMs;", "counts terms"),
  stats(
    "a renewal takes milliseconds",
    "const seconds = (this.#answeredAt - began) / 1_000;",
    "const seconds = this.#answeredAt - began;",
    "costs the telemetry",
  ),
  stats(
    "the smallest that was left is the largest",
    "Math.min(this.#smallestValidity ?? Infinity, left)",
    "Math.max(this.#smallestValidity ?? 0, left)",
    "slow backend",
  ),
  stats(
    "a term keeps the validity of the one before",
    "    this.#recentValidity.clear();\n",
    "",
    "nothing of the validity",
  ),
  stats(
    "a term keeps the last validity of the one before",
    "    this.#lastValidity = null;\n",
    "",
    "nothing of the validity",
  ),
  stats(
    "who has lost the lead has validity left",
    "leads ? this.#recentValidity.value : null",
    "this.#recentValidity.value",
    "counts terms",
  ),
  stats("terms end for one reason", "this.#terms[reason]++;", "this.#terms.released++;", "why terms ended"),
  stats(
    "draining takes milliseconds",
    "(this.#drain ??= new Durations()).add(ms / 1_000);",
    "(this.#drain ??= new Durations()).add(ms);",
    "why terms ended",
  ),
  stats(
    "a time without a leader is not counted",
    "    (this.#leaderless ??= new Durations()).add(ms / 1_000);\n",
    "",
    "without a leader",
  ),
  stats(
    "what a subscriber throws reaches the election",
    '      this.#warn("a subscriber of measurements failed", error);',
    "      throw error;",
    "onMeasurement() gets",
  ),
  stats(
    "a heartbeat reads the clock once more",
    "this.#recentValidity.add(left, this.#answeredAt);",
    "this.#recentValidity.add(left, this.#config.clock.monotonic());",
    "costs the telemetry",
  ),
  {
    name: "a call that was given up counts as failed",
    file: "src/participant/bounded_provider.ts",
    find:
      "if (call !== null && (outer?.aborted || error === CANCELLED)) this.#telemetry.abandoned(call);\n      else if",
    replace: "if",
    test: { file: STATS, filter: "nobody waits for any more" },
  },
  {
    name: "a minimum forgets the window before",
    file: "src/telemetry/recent_minimum.ts",
    find: "elapsed < 2 * WINDOW_MS ? this.#now : Infinity",
    replace: "Infinity",
    test: { file: STATS, filter: "a minimum is" },
  },
  {
    name: "a minimum never forgets",
    file: "src/telemetry/recent_minimum.ts",
    find: "    this.#now = Infinity;\n",
    replace: "",
    test: { file: STATS, filter: "a minimum is" },
  },
  {
    name: "the API is loaded without an SDK",
    file: SEAM,
    find: "if (!(REGISTERED in globalThis)) return null;",
    replace: "",
    test: { file: COLLECTOR, filter: "without OpenTelemetry" },
  },
  seam(
    "durations are in milliseconds, says their unit",
    'unit: "s",\n        description,',
    'unit: "ms",\n        description,',
    "names and units",
  ),
  seam("whoever knows a leader leads", "Number(now.leads)", "Number(now.token !== null)", "gauges have"),
  seam("gauges of ended elections stay", "      this.#sources.delete(read);\n", "", "gauges have"),
  seam("nobody stops to collect", "if (this.#sources.size === 0) this.#ignore();", "", "gauges have"),
  seam("a token that nobody has is 0", "if (now.token !== null) result", "result", "gauges have"),
  seam(
    "measurements lose their attributes",
    "const all = { ...attributes, ...more };",
    "const all = { ...more };",
    "each measurement",
  ),
  seam(
    "reads are spans, too",
    'if (operation !== "acquire" && operation !== "renew" && operation !== "release") return undefined;',
    "",
    "calls are spans",
  ),
  seam(
    "the release of a term is linked to nothing",
    "    this.#term?.end();\n",
    "    this.#term?.end();\n    this.#term = null;\n",
    "calls are spans",
  ),
  seam("a term ends twice", "    if (!this.#leads) return;\n", "", "calls are spans"),
  seam(
    "an acquire is linked to the term before",
    'operation === "acquire" ? null : this.#term',
    "this.#term",
    "calls are spans",
  ),
  seam("heartbeats are children of whatever runs", "root: true", "root: false", "calls are spans"),
  seam(
    "a failure looks like success",
    "        span.setStatus({ code: ERROR, message: error instanceof Error ? error.message : String(error) });\n",
    "",
    "calls are spans",
  ),
  {
    name: "work is no child of its term",
    file: SEAM,
    find: "context.with(trace.setSpan(context.active(), this.#term), work)",
    replace: "work()",
    test: { file: COLLECTOR, filter: SENDS },
  },
  {
    name: "participants are among the attributes",
    file: TELEMETRY,
    find: "const { electionGroup: group } = this.#config;\n      this.#meter ??= telemetry?.meter({ group,",
    replace:
      "const { electionGroup: group, participantId } = this.#config;\n      this.#meter ??= telemetry?.meter({ group, participantId,",
    test: { file: COLLECTOR, filter: SENDS },
  },
];

function stats(name: string, find: string, replace: string, filter: string): ProviderMutant {
  return { name, file: TELEMETRY, find, replace, test: { file: STATS, filter } };
}

function seam(name: string, find: string, replace: string, filter: string): ProviderMutant {
  return { name, file: SEAM, find, replace, test: { file: API, filter } };
}
