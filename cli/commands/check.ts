/**
 * `elect check`: whether elections would work here, and what the backend could forget.
 *
 * @module
 */

import process from "node:process";
import type { Finding, Provider } from "../../mod.ts";
import { redact } from "../../src/redact.ts";
import type { Command, Invocation } from "../args.ts";
import { explainTiming, judgeClock, judgeRoundTrip, ms } from "../check/judgement.ts";
import { CHECK_GROUP, tryPermissions } from "../check/permissions.ts";
import { measureRoundTrip, timed } from "../check/round_trip.ts";
import { PARTICIPANT } from "../options.ts";
import { EXIT } from "../exit.ts";
import { type Output, outputTo, printable } from "../output.ts";
import type { Use } from "../scope.ts";
import { electionOf, openTarget, patience, targetOf } from "../target.ts";

/** `elect check`. */
export const checkCommand: Command = {
  name: "check",
  usage: "",
  summary: "Checks the backend: permissions, round trips, clocks, timing, and what its settings mean for leases.",
  details:
    `Leads the group ${CHECK_GROUP} for a moment to try each permission; --observe writes nothing. Each finding is ok,
a warning or an error, with a remedy. Exit code: 1 for a warning with --strict, 69 when the backend cannot be used, 78
when the timing or a setting of the backend would not be safe.`,
  example: "elect check --provider redis://localhost --heartbeat-timeout 3s",
  options: [...PARTICIPANT, "observe", "strict"],
  run: check,
};

async function check(invocation: Invocation, use: Use): Promise<number> {
  const provider = use(await openTarget(invocation));
  const { config } = electionOf(provider, { ...invocation, group: CHECK_GROUP }, { observer: invocation.observe });
  const output = outputTo(process.stdout, invocation.json);
  const at = redact(targetOf(invocation));
  let first: number;
  const bound = patience();
  try {
    first = await timed(() => provider.healthCheck(bound));
  } catch (error) {
    if (bound.signal.aborted) throw error;
    // Where the backend says more about itself, that says why.
    const { version, findings } = await inspect(provider);
    if (findings.every(({ about, level }) => level === "ok" || about === SETTINGS)) throw error;
    const health: Finding = { about: "health", level: "error", text: messageOf(error) };
    output.print([titleOf(provider, at, version, output), "", ...[health, ...findings].flatMap(lines)].join("\n"), {
      ...{ provider: provider.name, target: at, version, capabilities: provider.capabilities },
      findings: [health, ...findings],
      warnings: warningsOf(findings),
    });
    return EXIT.unavailable;
  }
  const roundTrip = await measureRoundTrip(provider);
  const permissions = await tryPermissions(provider, config);
  const { version, findings: settings, clockOffsetMs: told } = await inspect(provider);
  const clockOffsetMs = provider.capabilities.timeAuthority === "host"
    ? null
    : told === undefined
    ? permissions.clockOffsetMs
    : told;
  const findings = [
    ...permissions.findings,
    judgeRoundTrip(roundTrip, config),
    ...(clockOffsetMs === null ? [] : [judgeClock(clockOffsetMs)]),
    ...settings,
  ];
  const { timeAuthority, durability } = provider.capabilities;
  const { rounds, min, median, p95, max } = roundTrip;
  output.print(
    [
      titleOf(provider, at, version, output),
      `connecting  and checking took ${ms(first)}`,
      `round trip  ${ms(median)} (median of ${rounds}; from ${ms(min)} to ${ms(max)}, 95 % within ${ms(p95)})`,
      `clock       the ${timeAuthority}'s decides when a lease has expired`,
      `durability  ${durability}`,
      ...explainTiming(config).map((line, index) => `${index === 0 ? "timing    " : "          "}  ${line}`),
      "",
      ...findings.flatMap(lines),
    ].join("\n"),
    {
      provider: provider.name,
      target: at,
      version,
      healthCheckMs: first,
      roundTripMs: median,
      roundTrip,
      clockOffsetMs,
      capabilities: provider.capabilities,
      heartbeatInterval: config.heartbeatInterval,
      heartbeatTimeout: config.heartbeatTimeout,
      requestTimeout: config.requestTimeout,
      validFor: config.validFor,
      findings,
      warnings: warningsOf(findings),
    },
  );
  const isAny = (list: readonly Finding[], level: Finding["level"]) => list.some((each) => each.level === level);
  if (isAny(permissions.findings, "error")) return EXIT.unavailable;
  if (isAny(findings, "error")) return EXIT.config;
  return invocation.strict && isAny(findings, "warning") ? EXIT.warned : EXIT.done;
}

/** The subject of the finding that the settings cannot be had. */
const SETTINGS = "settings";

/** Asks for the settings. That they cannot be had is no reason not to have the rest. */
async function inspect(provider: Provider): ReturnType<NonNullable<Provider["inspect"]>> {
  try {
    return await provider.inspect?.(patience()) ?? { version: null, findings: [] };
  } catch (error) {
    return { version: null, findings: [{ about: SETTINGS, level: "warning", text: messageOf(error) }] };
  }
}

function messageOf(error: unknown): string {
  return redact(error instanceof Error ? error.message : String(error));
}

function titleOf({ name }: Provider, at: string, version: string | null, output: Output): string {
  return `provider    ${output.strong(name)} at ${at}${version === null ? "" : `, ${printable(version)}`}`;
}

function lines({ about, level, text, remedy }: Finding): string[] {
  return [
    `${level.padEnd(7)}  ${printable(about)}: ${printable(text)}`,
    ...(level === "ok" || remedy === undefined ? [] : [`         remedy: ${printable(remedy)}`]),
  ];
}

function warningsOf(findings: readonly Finding[]): string[] {
  return findings.filter(({ level }) => level === "warning").map(({ about, text }) => `${about}: ${text}`);
}
