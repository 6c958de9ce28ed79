/**
 * `elect check`: whether elections would work here.
 *
 * @module
 */

import process from "node:process";
import { systemClock } from "../../src/time/clock.ts";
import type { ElectionConfig } from "../../src/options.ts";
import type { Provider } from "../../src/provider.ts";
import { redact } from "../../src/redact.ts";
import type { Command, Invocation } from "../args.ts";
import { PARTICIPANT } from "../options.ts";
import { EXIT } from "../exit.ts";
import { outputTo } from "../output.ts";
import type { Use } from "../scope.ts";
import { electionOf, openTarget, patience, targetOf } from "../target.ts";

const ROUNDS = 5;

/** `elect check`. */
export const checkCommand: Command = {
  name: "check",
  usage: "",
  summary: "Checks the backend, its permissions, its round-trip time, and the timing of the election.",
  details: "Writes no lease. Exit code: 69 when the backend cannot be used, 78 when the timing would not be safe.",
  example: "elect check --provider redis://localhost --heartbeat-timeout 3s",
  options: PARTICIPANT,
  run: check,
};

async function check(invocation: Invocation, use: Use): Promise<number> {
  const provider = use(await openTarget(invocation));
  const { config } = electionOf(provider, { ...invocation, group: "elect-check" });
  const { first, roundTrip } = await measure(provider);
  const output = outputTo(process.stdout, invocation.json);
  const timing = explain(config, roundTrip);
  const { timeAuthority, durability } = provider.capabilities;
  output.print(
    [
      `provider    ${output.strong(provider.name)} at ${redact(targetOf(invocation))}`,
      `permission  enough for elections; connecting and checking took ${ms(first)}`,
      `round trip  ${ms(roundTrip)} (median of ${ROUNDS})`,
      `clock       the ${timeAuthority}'s decides when a lease has expired`,
      `durability  ${durability}`,
      ...timing.lines.map((line, index) => `${index === 0 ? "timing    " : "          "}  ${line}`),
    ].join("\n"),
    {
      provider: provider.name,
      target: redact(targetOf(invocation)),
      healthCheckMs: first,
      roundTripMs: roundTrip,
      capabilities: provider.capabilities,
      heartbeatInterval: config.heartbeatInterval,
      heartbeatTimeout: config.heartbeatTimeout,
      requestTimeout: config.requestTimeout,
      validFor: config.validFor,
      warnings: timing.warnings,
    },
  );
  return EXIT.done;
}

async function measure(provider: Provider): Promise<{ first: number; roundTrip: number }> {
  const timed = async (work: () => Promise<unknown>) => {
    const start = systemClock.monotonic();
    await work();
    return systemClock.monotonic() - start;
  };
  const first = await timed(() => provider.healthCheck(patience()));
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    times.push(await timed(() => provider.read("elect-check", patience())));
  }
  times.sort((a, b) => a - b);
  return { first, roundTrip: times[ROUNDS >> 1] ?? first };
}

/** The inequality that makes a term safe, with its numbers; it held, or the election would have been refused. */
function explain(config: ElectionConfig, roundTrip: number): { lines: string[]; warnings: string[] } {
  const { heartbeatInterval, heartbeatTimeout, requestTimeout, validFor } = config;
  const spare = validFor - heartbeatInterval - requestTimeout;
  const warnings = roundTrip * 4 > requestTimeout
    ? [`a round trip takes ${ms(roundTrip)}, over a quarter of requestTimeout: heartbeats may fail under load`]
    : [];
  return {
    lines: [
      `heartbeatInterval + requestTimeout < time for which a heartbeat of ${heartbeatTimeout} ms can be relied upon`,
      `${heartbeatInterval} + ${requestTimeout} < ${ms(validFor)}: holds, with ${ms(spare)} to spare`,
      `a leader that freezes is replaced within ${heartbeatTimeout} ms and one look`,
      ...warnings.map((warning) => `warning: ${warning}`),
    ],
    warnings,
  };
}

function ms(value: number): string {
  return `${Number(value.toFixed(value < 10 ? 2 : 0))} ms`;
}
