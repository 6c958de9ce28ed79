/**
 * `elect run`: a command that runs while this participant leads.
 *
 * @module
 */

import process from "node:process";
import type { LeaderElection, Term } from "../../mod.ts";
import { type Command, type Invocation, PARTICIPANT } from "../args.ts";
import { exitCodeOfSignal, type GatedChild } from "../guard/child.ts";
import { EXIT } from "../exit.ts";
import { ElectionError } from "../../src/errors.ts";
import { Guard } from "../guard/guard.ts";
import { logTo, outputTo } from "../output.ts";
import { onEndingSignal } from "../signals.ts";
import { type Outcome, reserveOf, supervise } from "../guard/supervise.ts";
import { electionOf, openTarget } from "../target.ts";

/** The longest between two questions of the guard, in milliseconds. */
const MAX_TICK_MS = 500;

/** `elect run`. */
export const runCommand: Command = {
  name: "run",
  usage: "GROUP -- COMMAND...",
  summary: "Waits until it leads GROUP, and runs COMMAND while it does.",
  details: `COMMAND gets ELECT_GROUP, ELECT_PARTICIPANT_ID, ELECT_TERM_ID and ELECT_TOKEN: hand the token to whatever it
writes to. When leadership is lost it gets SIGTERM, and SIGKILL before anybody else can lead; a guard process
sees to that also when elect itself is killed or frozen. What it leaves running is ended with it.
A process that leaves its process group (a daemon) is out of reach.

SIGINT, SIGTERM, SIGHUP and SIGQUIT are passed on to COMMAND. While waiting they end elect, with 128 and the
number of the signal; a second one ends it at once. Without --repeat, elect ends with COMMAND.
Exit code: that of COMMAND (128 and the signal that ended it); 75 if leadership was lost. A backend that is
down is waited for.`,
  example: `elect run nightly -- sh -c 'echo leader $ELECT_TOKEN; exec backup.sh'`,
  options: [...PARTICIPANT, "repeat"],
  run,
};

async function run(invocation: Invocation): Promise<number> {
  if (process.platform === "win32") {
    throw new ElectionError(
      `Cannot run "${invocation.command[0]}": this platform has no process groups to end it with`,
    );
  }
  await using provider = await openTarget(invocation);
  const { election, config } = electionOf(provider, invocation);
  await using _stop = election;
  const reserve = reserveOf(config);
  const tickMs = Math.min(MAX_TICK_MS, config.heartbeatTimeout / 40);
  // The command has standard output to itself.
  const output = outputTo(process.stderr, invocation.json);
  const log = logTo(process.stderr, invocation.logLevel, invocation.json);
  const { group: electionGroup } = invocation;
  const tell = (event: "elected" | "lost", text: string, data: Readonly<Record<string, unknown>>) =>
    output.print(text, { event, electionGroup, ...data });
  const stopping = new AbortController();
  let child: GatedChild | null = null;
  let exitCode: number | null = null;
  using _signals = onEndingSignal((signal) => {
    if (child !== null) return child.kill(signal);
    if (exitCode !== null) process.exit(exitCode);
    exitCode = exitCodeOfSignal(signal);
    stopping.abort();
  });

  for (;;) {
    // Before the election: its start must not delay a hand-off, and who could not guard the command does not campaign.
    using guard = await Guard.start();
    await election.start();
    if (!election.isLeader) {
      log.info("waits to lead", { electionGroup, leader: election.status.currentLeader?.leaderId });
    }
    const outcome = await leadOnce(election, stopping.signal, async (term) => {
      // To people, the command speaks for itself.
      if (invocation.json) tell("elected", "", { token: term.token, termId: term.termId });
      const started = (process: GatedChild) => void (child = process);
      return await supervise({ command: invocation.command, term, guard, reserve, tickMs, started })
        .finally(() => child = null);
    });
    if (outcome === null || exitCode !== null) return exitCode ?? EXIT.done;
    if (!outcome.lost) return outcome.code;
    tell("lost", `elect: lost leadership of "${electionGroup}": the command was ended`, { code: outcome.code });
    if (!invocation.repeat) return EXIT.lost;
  }
}

/** Campaigns until `work` has run once, however its term ended; null if `signal` aborted first. */
async function leadOnce(
  election: LeaderElection,
  signal: AbortSignal,
  work: (term: Term) => Promise<Outcome>,
): Promise<Outcome | null> {
  const done = new AbortController();
  let outcome: Outcome | null = null;
  await election.run(async (term) => {
    outcome = await work(term);
    done.abort();
  }, { signal: AbortSignal.any([signal, done.signal]) });
  return outcome;
}
