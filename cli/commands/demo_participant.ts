/**
 * One participant of `elect demo`, in a process of its own.
 *
 * It is told what to do by a line of JSON on standard input, and reports on standard output, a line of JSON each. When
 * its input closes, because the demo has ended in whatever way, it ends too.
 *
 * @module
 */

import process from "node:process";
import { sleep, systemClock } from "../../src/time/clock.ts";
import type { Invocation } from "../args.ts";
import { readLines } from "../lines.ts";
import { scoped, type Use } from "../scope.ts";
import { electionOf, openTarget } from "../target.ts";

/** The time between two looks whether it leads, in milliseconds. */
const LOOK_MS = 10;

/** A report of the participant. */
export type Report =
  | { readonly event: "started" }
  /** Its `isLeader` has been true at `at`, by the clock that all processes of a machine share. */
  | { readonly event: "leads"; readonly token: string; readonly at: number };

async function main(instructions: Invocation, stop: AbortSignal, use: Use): Promise<void> {
  const provider = use(await openTarget(instructions));
  const { election } = electionOf(provider, instructions);
  use(election);
  await election.start();
  report({ event: "started" });
  stop.addEventListener("abort", () => void election.stop());
  while (!stop.aborted) {
    // The time is read first: if the next line finds that it leads, it led then or was elected just now. A report that
    // is too early by that much can only make the demo stricter.
    const at = systemClock.wall();
    const token = election.term?.token;
    if (token !== undefined) report({ event: "leads", token: String(token), at });
    await sleep(systemClock, LOOK_MS, stop).catch(() => {});
  }
}

function report(what: Report): void {
  process.stdout.write(`${JSON.stringify(what)}\n`);
}

if (import.meta.main) {
  const stop = new AbortController();
  readLines(process.stdin, (line) => {
    if (line === "stop") return stop.abort();
    const played = scoped((use) => main(JSON.parse(line) as Invocation, stop.signal, use));
    void played.then(() => process.exit(0), (error: unknown) => {
      process.stderr.write(`elect: ${error instanceof Error ? error.message : String(error)}\n`);
      process.exit(1);
    });
  }, () => process.exit(0));
}
