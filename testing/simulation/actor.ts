/**
 * A participant of a simulation: a process with a real election in it, and somebody who uses it.
 *
 * @module
 */

import { type Instant, sleep } from "../../src/clock.ts";
import { LeaderElection } from "../../src/election.ts";
import type { LeadershipChange } from "../../src/changes.ts";
import type { ProviderOperation } from "../../src/errors.ts";
import type { Term } from "../../src/term.ts";
import type { History } from "./history.ts";
import { type CallObserver, type CallReport, type Network, SimulatedProvider } from "./network.ts";
import type { Random } from "./random.ts";
import type { Action, ParticipantPlan, Timing } from "./scenario.ts";
import { GROUP, type SimulatedServer } from "./server.ts";
import type { FencedSink } from "./sink.ts";
import type { Process, World } from "./world.ts";

/** What actors share. */
export interface Stage {
  readonly world: World;
  readonly history: History;
  readonly network: Network;
  readonly server: SimulatedServer;
  readonly sink: FencedSink;
  readonly timing: Timing;
  readonly watch: boolean;
  /** Is told that work begins, before it does anything. */
  readonly onWork: (actor: Actor, work: Work) => void;
  /** Is told that a subscriber was handed a change. */
  readonly onChange: (actor: Actor, change: LeadershipChange, subscription: Subscription) => void;
}

/** One piece of work that `run` has begun. */
export interface Work {
  readonly term: Term;
  settled: boolean;
  /** When it was told to stop, by the clocks of its process. */
  toldAt: Instant | null;
}

/** One subscription, and what it was handed last. */
export interface Subscription {
  readonly isSlow: boolean;
  last: LeadershipChange | null;
  leads: boolean | null;
  ended: boolean;
}

/** One participant, from its start to its crash. */
export class Actor implements CallObserver {
  readonly name: string;
  readonly who: number;
  readonly plan: ParticipantPlan;
  readonly process: Process;
  readonly election: LeaderElection;
  /** The terms that an answer granted, and when the requests of the last two answers that prolonged each were sent. */
  readonly prolonged: Map<string, { readonly sent: Instant; readonly before: Instant }> = new Map();
  /** The terms that an answer said were lost, and how many things had happened by then. */
  readonly lost: Map<string, number> = new Map();
  /** The terms that it asked a lease for. */
  readonly asked: Set<string> = new Set();
  readonly works: Work[] = [];
  readonly subscriptions: Subscription[] = [];
  /** Waits that have not settled. */
  waits = 0;
  isFit = true;
  /** When it was last granted a lease. */
  grantedAt = -Infinity;
  /** Whether the last of `start` and `stop` was `start`. */
  isStarted = false;
  /** Whether the last `stop` has come to its end, and no `start` came after it. */
  hasStopped = false;
  /** When the `stop` that is under way began, and how long the process had been idle by then. */
  stopping: { readonly at: number; readonly idleMs: number } | null = null;
  /** When the last `stop` began. */
  stoppedAt = Infinity;
  /** Until when, by its monotonic clock, it is not to campaign. */
  coolUntil = -Infinity;
  readonly #stage: Stage;
  #runs = 0;
  #metadata = 0;

  constructor(stage: Stage, who: number, plan: ParticipantPlan, process: Process, random: Random) {
    this.#stage = stage;
    this.who = who;
    this.name = `p${who + 1}`;
    this.plan = plan;
    this.process = process;
    this.election = new LeaderElection(new SimulatedProvider({ ...stage, process, who, observer: this }), {
      ...stage.timing,
      electionGroup: GROUP,
      participantId: this.name,
      observer: plan.observer,
      healthCheck: () => this.isFit,
      clock: process.clock,
      random: random.next,
    });
  }

  /** Whether it would have to lead if nobody else did. */
  get couldLead(): boolean {
    return this.isStarted && this.stopping === null && this.isFit && !this.plan.observer && !this.process.blocked &&
      this.process.monotonic() > this.coolUntil && this.works.every(({ settled }) => settled);
  }

  onCall(operation: ProviderOperation, termId: string | null): void {
    const { history } = this.#stage;
    const writes = operation === "acquire" || operation === "renew" || operation === "release";
    if (writes && this.plan.observer) history.violate("S10", `the observer ${this.name} sent: ${operation}`);
    if (operation !== "acquire" || termId === null) return;
    this.asked.add(termId);
    if (this.hasStopped) history.violate("S9", `${this.name} campaigns after its stop`);
    if (this.process.monotonic() < this.coolUntil - 0.001) {
      history.violate("L2", `${this.name} campaigns while it cools down`);
    }
  }

  onAnswer({ operation, termId, sent, answer }: CallReport): void {
    if (termId === null) return;
    const { history } = this.#stage;
    const granted = typeof answer === "object" && answer !== null && "acquired" in answer && answer.acquired === true;
    if (granted) this.grantedAt = this.#stage.world.now;
    if (granted || answer === "renewed") {
      this.prolonged.set(termId, { sent, before: this.prolonged.get(termId)?.sent ?? sent });
    }
    if (answer === "lost") this.lost.set(termId, this.#stage.world.count);
    const outcome = typeof answer === "string" ? answer : granted ? "granted" : "held";
    history.note(this.name, () => `${operation} of ${history.term(termId)}: ${outcome}`);
  }

  /** Does what its user does. */
  do(action: Action): void {
    const { election } = this;
    this.#stage.history.note(this.name, () => describeAction(action));
    switch (action.do) {
      case "start":
        this.isStarted = true;
        this.hasStopped = false;
        return ignore(election.start());
      case "stop":
        return this.#stop();
      case "release":
        if (election.isLeader) this.coolUntil = this.process.monotonic() + action.cooldownMs;
        return ignore(election.releaseLeadership({ cooldown: action.cooldownMs }));
      case "tryAcquire":
        this.coolUntil = -Infinity;
        return ignore(election.tryAcquireLeadership());
      case "look":
        return ignore(election.getCurrentLeader());
      case "waitToLead":
        return this.#wait(election.waitForLeadership());
      case "waitForLeader":
        return this.#wait(election.waitForLeader());
      case "updateMetadata":
        return ignore(election.updateMetadata({ version: String(++this.#metadata) }));
      case "health":
        this.isFit = action.fit;
        return;
      case "subscribe":
        return void this.#subscribe(action.readEveryMs);
      case "run":
        return this.#run(action);
    }
  }

  #stop(): void {
    const { history, world } = this.#stage;
    this.isStarted = false;
    this.coolUntil = -Infinity;
    this.stoppedAt = world.now;
    this.stopping ??= { at: world.now, idleMs: this.process.idleMs };
    const stopped = this.election.stop().then(() => {
      this.stopping = null;
      if (this.isStarted) return;
      this.hasStopped = true;
      history.note(this.name, () => "has stopped");
      const { isLeader, status } = this.election;
      if (isLeader || status.role !== "stopped") history.violate("S9", `${this.name} is ${status.role} after its stop`);
    });
    stopped.catch((error) => history.violate("L5", `stop() of ${this.name} failed: ${error}`));
  }

  #wait(promise: Promise<unknown>): void {
    const { history } = this.#stage;
    this.waits++;
    promise.then(
      (value) => value ?? history.violate("E4", `a wait of ${this.name} came to nothing`),
      () => {},
    ).finally(() => this.waits--);
  }

  async #subscribe(readEveryMs: number): Promise<void> {
    const subscription: Subscription = { isSlow: readEveryMs > 0, last: null, leads: null, ended: false };
    this.subscriptions.push(subscription);
    try {
      for await (const change of this.election.changes()) {
        this.#stage.onChange(this, change, subscription);
        subscription.last = change;
        if (readEveryMs > 0) await sleep(this.process.clock, readEveryMs);
      }
    } catch (error) {
      this.#stage.history.violate("E3", `a stream of ${this.name} broke: ${error}`);
    }
    subscription.ended = true;
  }

  #run({ workMs, drainMs, once }: Action & { do: "run" }): void {
    if (this.#runs === MOST_RUNS) return;
    this.#runs++;
    const { clock } = this.process;
    const work = async (term: Term) => {
      const record: Work = { term, settled: false, toldAt: null };
      term.signal.addEventListener("abort", () => record.toldAt = this.process.instant());
      this.#stage.onWork(this, record);
      this.works.push(record);
      try {
        for (let left = workMs; left > 0 && !term.signal.aborted; left -= WRITE_EVERY_MS) {
          this.#write(term);
          await sleep(clock, Math.min(left, WRITE_EVERY_MS), term.signal).catch(() => {});
        }
        // It goes on writing while it drains, as work does that notices late.
        for (let left = term.signal.aborted ? drainMs : 0; left > 0; left -= WRITE_EVERY_MS) {
          this.#write(term);
          await sleep(clock, Math.min(left, WRITE_EVERY_MS));
        }
      } finally {
        record.settled = true;
      }
    };
    ignore(this.election.run(work, { once }).finally(() => this.#runs--));
  }

  /** A write takes a while, and may arrive in any order. */
  #write(term: Term): void {
    const { world, network, sink } = this.#stage;
    const { lost, delayMs } = network.way(this.who);
    if (!lost) world.at(world.now + delayMs, () => sink.write(term));
  }
}

/** How many pieces of work it has at once, at most. */
const MOST_RUNS = 2;
/** How often work writes. */
const WRITE_EVERY_MS = 250;

/** Failures are part of the game; those that nobody hears of show up as unhandled. */
function ignore(promise: Promise<unknown>): void {
  promise.catch(() => {});
}

function describeAction({ do: what, ...details }: Action): string {
  const rest = Object.entries(details).filter(([key]) => key !== "at" && key !== "who");
  return [what, ...rest.map(([key, value]) => `${key}=${value}`)].join(" ");
}
