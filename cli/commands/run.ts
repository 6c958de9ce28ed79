/**
 * `elect run`: a command that runs while this participant leads.
 *
 * @module
 */

import process from "node:process";
import type { LeaderElection, Term } from "../../mod.ts";
import { runJob } from "../../src/election.ts";
import { systemClock } from "../../src/time/clock.ts";
import { ElectionError } from "../../src/errors.ts";
import type { Command, Invocation } from "../args.ts";
import { EXIT } from "../exit.ts";
import { type GatedChild, startGated } from "../guard/child.ts";
import { caveatsOf, watchForStrangers } from "../guard/caveats.ts";
import { Guard } from "../guard/guard.ts";
import { Register } from "../guard/register.ts";
import { type Outcome, reserveOf, supervise } from "../guard/supervise.ts";
import { PARTICIPANT } from "../options.ts";
import { scoped, type Use } from "../scope.ts";
import { exitCodeOfSignal, onSignal } from "../signals.ts";
import { electionOf, isLocalByDefault, openTarget, registerDirectory, targetOf } from "../target.ts";
import { Teller } from "./run_teller.ts";

/** The longest between two questions of the guard, in milliseconds. */
const MAX_TICK_MS = 500;

/** `elect run`. */
export const runCommand: Command = {
  name: "run",
  usage: "GROUP -- COMMAND...",
  summary: "Waits until it leads GROUP, and runs COMMAND while it does.",
  details: `COMMAND gets ELECT_GROUP, ELECT_PARTICIPANT_ID, ELECT_TERM_ID and ELECT_TOKEN: hand the token to whatever it
writes to. When leadership is lost it gets SIGTERM, and SIGKILL before anybody else can lead; a guard process
sees to that also when elect itself is killed or frozen. What it leaves running is ended with it, and on one host
the next elect ends what is left of an earlier term before its own COMMAND begins. Out of reach are a process that
leaves its process group (a daemon), and one that changes its user (sudo, su, a setuid program) unless elect
runs as root: put sudo before elect, not behind it.

Every signal that elect may hear is passed on to COMMAND: SIGINT, SIGTERM, SIGHUP and SIGQUIT, SIGUSR1, SIGUSR2,
SIGALRM, SIGWINCH, SIGCONT, SIGTSTP and others. While waiting, the first four end elect, with 128 and the number of the
signal; a second one ends it at once; the others mean nothing. Under nohup a hang-up stays ignored (Node, and Deno at
times, forget that as they start: without a terminal, put nohup before the shell there). Without --repeat, elect ends
with COMMAND. As process 1 of a container, elect needs an init that buries orphans (docker run --init).

A job of cron on several hosts: --no-wait, so that those who lose give up at once (--wait TIME: after that time), and
--at-least with a time longer than their clocks differ, so that a host that comes late does not run it again.
Exit code: that of COMMAND (128 and the signal that ended it); 75 if leadership was lost; 1, or that of
--conflict-exit-code, if it gave up. A backend that is down is waited for, unless --no-wait or --wait is given.`,
  example: `elect run nightly -- sh -c 'echo leader $ELECT_TOKEN; exec backup.sh'`,
  options: [...PARTICIPANT, "repeat", "no-wait", "wait", "conflict-exit-code", "at-least", "campaign-delay"],
  run,
};

async function run(invocation: Invocation, use: Use): Promise<number> {
  if (process.platform === "win32") {
    throw new ElectionError(
      `Cannot run "${invocation.command[0]}": this platform has no process groups to end it with`,
    );
  }
  const tell = new Teller(invocation, targetOf(invocation));
  let company: readonly number[] = [];
  const provider = use(await openTarget(invocation, { heldBy: () => company }));
  const { election, config } = electionOf(provider, invocation);
  use(election);
  if (isLocalByDefault(invocation)) tell.local();
  if (/^memory:/i.test(targetOf(invocation))) {
    tell.caveat("keeps its lease in its own memory, where no other elect sees it; name another place with --provider");
  }
  for (const caveat of caveatsOf(invocation.command)) tell.caveat(caveat);
  const reserve = reserveOf(config);
  const register = new Register(registerDirectory(targetOf(invocation)));
  const campaign = new Campaign(invocation, election);
  use(onSignal((signal, ending) => campaign.onSignal(signal, ending)));

  for (;;) {
    const outcome = await scoped(async (use) => {
      // Before the election: their start must not delay a hand-off, who could not guard the command does not campaign,
      // and the record of the term names them.
      const guard = use(await Guard.start());
      const gated = use(await startGated(invocation.command, (members) => tell.stuck(members)));
      company = [guard.pid, gated.pid];
      return await campaign.lead(tell, (term) => scoped((use) => serve(term, guard, gated, use)));
    });
    if (outcome === "given up") return invocation.conflictExitCode;
    if (outcome === "told to end") return campaign.exitCode ?? EXIT.done;
    if (!outcome.lost) return outcome.code;
    tell.lost(outcome.code);
    if (!invocation.repeat) return EXIT.lost;
  }

  /** Runs the command for a term. */
  async function serve(term: Term, guard: Guard, gated: GatedChild, use: Use): Promise<Outcome> {
    tell.elected(term);
    // Somebody ended the one that waited: no reason not to run the command.
    const child = use(
      gated.isOver ? await startGated(invocation.command, (members) => tell.stuck(members)) : gated,
    );
    use(campaign.pass(child));
    use(watchForStrangers(child.pid, (members) => tell.strangers(members)));
    const { electionGroup, termId, token } = term;
    const strikeOff = await register.enter({ electionGroup, termId, token, processGroup: child.pid })
      .catch((error: unknown) => tell.unregistered(error));
    const outcome = await supervise({
      child,
      term,
      guard,
      reserve,
      tickMs: Math.min(MAX_TICK_MS, config.heartbeatTimeout / 40),
      settle: () => register.endEarlier(term, reserve.killMs, (members) => tell.earlier(members)),
      began: () => campaign.began(),
      forbidden: () => tell.forbidden(),
    });
    await strikeOff?.();
    return { ...outcome, lost: outcome.lost || await campaign.wasEvicted(term, outcome.code) };
  }
}

/** Waiting for leadership, holding it, and what signals mean meanwhile. */
class Campaign {
  /** With what to exit, once a signal has ended the wait. */
  exitCode: number | null = null;
  readonly #invocation: Invocation;
  readonly #election: LeaderElection;
  readonly #stopping = new AbortController();
  #child: GatedChild | null = null;
  /** When the command began; null before. */
  #beganAt: number | null = null;

  constructor(invocation: Invocation, election: LeaderElection) {
    this.#invocation = invocation;
    this.#election = election;
  }

  onSignal(signal: NodeJS.Signals, ending: boolean): void {
    // Before the command has begun, a signal that it may want would end the shell that waits at the gate.
    if (this.#child !== null && (ending || this.#beganAt !== null)) return void this.#child.kill(signal);
    if (!ending) return;
    if (this.exitCode !== null) process.exit(this.exitCode);
    this.exitCode = exitCodeOfSignal(signal);
    this.#stopping.abort();
  }

  /** Passes signals on to `child`, until it is disposed of. */
  pass(child: GatedChild): Disposable {
    this.#child = child;
    this.#beganAt = null;
    return { [Symbol.dispose]: () => void (this.#child = null) };
  }

  /** Notes that the command begins. */
  began(): void {
    this.#beganAt = systemClock.monotonic();
  }

  /**
   * Returns whether the command that ended with `code` was ended because somebody else leads. An evicted leader learns
   * that with its next heartbeat; but the next one of the same host has ended its command before.
   */
  async wasEvicted({ termId }: Term, code: number): Promise<boolean> {
    if (code <= exitCodeOfSignal(null)) return false;
    const leader = await this.#election.getCurrentLeader().catch(() => null);
    return leader !== null && leader.termId !== termId;
  }

  /** Campaigns until `work` has run once, however its term ended, or until it is time to give up. */
  async lead(tell: Teller, work: (term: Term) => Promise<Outcome>): Promise<Outcome | "given up" | "told to end"> {
    const { waitMs = Infinity, atLeastMs } = this.#invocation;
    const election = this.#election;
    const began = systemClock.monotonic();
    const outcomes: Outcome[] = [];
    await election.start();
    if (waitMs > 0 && !election.isLeader && !this.#stopping.signal.aborted) {
      tell.waiting(election.status.currentLeader);
    }
    const job = await runJob(election, async (term) => {
      const outcome = await work(term);
      outcomes.push(outcome);
      // A command that had to be ended keeps no lease.
      if (outcome.lost) this.#beganAt = null;
    }, {
      waitMs: Math.max(0, waitMs - (systemClock.monotonic() - began)),
      atLeastMs,
      beganAt: () => this.#beganAt,
      signal: this.#stopping.signal,
    });
    const [outcome] = outcomes;
    if (this.exitCode !== null && (outcome === undefined || outcome.lost)) return "told to end";
    if (outcome !== undefined) return outcome;
    tell.gaveUp(job.outcome === "held" ? job.leader : null);
    return "given up";
  }
}
