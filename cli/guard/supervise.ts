/**
 * One command, for one term.
 *
 * @module
 */

import { elapsedSince, type Instant, instant, systemClock } from "../../src/time/clock.ts";
import type { ElectionConfig } from "../../src/options.ts";
import type { Term } from "../../src/participant/term.ts";
import type { Environment, GatedChild } from "./child.ts";
import type { Guard } from "./guard.ts";

/** The end of a command. */
export interface Outcome {
  /** Its exit code. */
  readonly code: number;
  /** True if it had to be ended, because leadership was lost or could not be guarded any more. */
  readonly lost: boolean;
}

/** When a command is told to end, and when it is killed, in milliseconds before the term's deadline. */
export interface Reserve {
  /** It gets SIGTERM this long before the deadline, if the lease has not been renewed by then. */
  readonly termMs: number;
  /** It gets SIGKILL this long before the deadline. */
  readonly killMs: number;
}

/**
 * Returns how early a command is ended. A healthy leader never comes there: even when each heartbeat takes as long as
 * it may, `validFor - heartbeatInterval - requestTimeout` of its time is left when the next one succeeds.
 */
export function reserveOf(config: ElectionConfig): Reserve {
  const spare = config.validFor - config.heartbeatInterval - config.requestTimeout;
  const termMs = Math.min(config.heartbeatTimeout / 5, spare);
  return { termMs, killMs: termMs / 2 };
}

/** The needs of {@linkcode supervise}. */
export interface Supervision {
  /** The command, behind its gate. */
  readonly child: GatedChild;
  /** The term that the command runs in. */
  readonly term: Term;
  /** Kills the command at its deadline. */
  readonly guard: Guard;
  /** The times before the deadline at which it is ended. */
  readonly reserve: Reserve;
  /** The shortest time between two questions of the guard, in milliseconds. */
  readonly tickMs: number;
  /** Sees to what must have ended before the command begins. */
  settle(): Promise<void>;
  /** Is told that the command begins. */
  began(): void;
  /** Is told, once, that this user may not end it. */
  forbidden(): void;
}

/** Runs a command until it ends, or until its term does. */
export async function supervise(supervision: Supervision): Promise<Outcome> {
  const { child, term, guard, reserve, tickMs } = supervision;
  const right = new RightToRun(term, reserve);
  let lost = false;
  let over = false;
  let refused = false;
  const end = (signal: NodeJS.Signals) => {
    if (!lost || signal === "SIGKILL") {
      if (child.kill(signal) === "forbidden" && !refused) {
        refused = true;
        supervision.forbidden();
      }
    }
    lost = true;
  };
  const enforce = () => {
    const remaining = right.remaining();
    if (remaining <= 0) end("SIGKILL");
    else if (remaining <= reserve.termMs - reserve.killMs) end("SIGTERM");
    return remaining;
  };
  const onLoss = () => {
    right.cut();
    end("SIGTERM");
  };
  term.signal.addEventListener("abort", onLoss, { once: true });
  if (term.signal.aborted) onLoss();
  // Without its guard, nothing would end the command if this process froze. And without this timer, nothing would if
  // the guard did: it may be stopped like any process.
  void guard.gone.then(() => over || end("SIGKILL"));
  const cancelPatrol = every(tickMs, enforce);
  const guarded = guard.watch(child.pid, tickMs, enforce);
  if (await Promise.race([guarded, child.ended.then(() => true)])) {
    await Promise.race([supervision.settle(), child.ended]);
    if (!lost && !child.isOver) {
      supervision.began();
      child.begin(environmentOf(term));
    }
  } else {
    end("SIGKILL");
  }
  const code = await child.ended;
  over = true;
  cancelPatrol();
  term.signal.removeEventListener("abort", onLoss);
  const killed = await guard.standDown();
  return { code, lost: lost || killed };
}

function environmentOf(term: Term): Environment {
  return {
    ELECT_GROUP: term.electionGroup,
    ELECT_PARTICIPANT_ID: term.participantId,
    ELECT_TERM_ID: term.termId,
    ELECT_TOKEN: String(term.token),
  };
}

/** Calls `work` every `ms`; returns what ends that. */
function every(ms: number, work: () => void): () => void {
  let cancel = () => {};
  const next = () => {
    cancel = systemClock.setTimer(() => {
      work();
      next();
    }, ms);
  };
  next();
  return () => cancel();
}

/** The time for which a command may still run, as the guard is told. */
class RightToRun {
  readonly #term: Term;
  readonly #reserve: Reserve;
  #from: Instant = instant(systemClock);
  #ms = 0;
  #cut = false;

  constructor(term: Term, reserve: Reserve) {
    this.#term = term;
    this.#reserve = reserve;
    this.remaining();
  }

  remaining(): number {
    if (!this.#cut) this.#set(this.#term.remaining - this.#reserve.killMs);
    return this.#ms - elapsedSince(systemClock, this.#from);
  }

  /** The term is over: what had been promised last still bounds it, and time to tidy up is all that is left of it. */
  cut(): void {
    if (this.#cut) return;
    this.#cut = true;
    this.#set(Math.min(this.remaining(), this.#reserve.killMs));
  }

  #set(ms: number): void {
    this.#from = instant(systemClock);
    this.#ms = ms;
  }
}
