/**
 * A participant of a simulation: a process with a real election in it, and somebody who uses it.
 *
 * @module
 */

import { type Instant, sleep } from "../../src/time/clock.ts";
import { LeaderElection } from "../../src/election.ts";
import type { LeadershipChange } from "../../src/changes/change.ts";
import type { ProviderOperation } from "../../src/errors.ts";
import type { Term } from "../../src/participant/term.ts";
import type { History } from "./history.ts";
import { type CallObserver, type CallReport, type Network, SimulatedProvider } from "./network.ts";
import type { Random } from "./random.ts";
import type { Meeting } from "./meetings.ts";
import type { Action, Call, ParticipantPlan, Phase, Timing } from "./scenario.ts";
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
  readonly refusesMetadata: boolean;
  readonly meetings: Set<Meeting>;
  /** Is told that work begins, before it does anything. */
  readonly onWork: (actor: Actor, work: Work) => void;
  /** Is told that a try was answered with a term. */
  readonly onElected: (actor: Actor, term: Term) => void;
  /** Is told that `run` has returned because its work was done in a term that lasted. */
  readonly onDone: (actor: Actor, term: Term) => void;
  /** Is told that a subscriber was handed a change. */
  readonly onChange: (actor: Actor, change: LeadershipChange, subscription: Subscription) => void;
}

/** One piece of work that `run` has begun. */
export interface Work {
  readonly term: Term;
  settled: boolean;
  /** When it was told to stop, by the clocks of its process. */
  toldAt: Instant | null;
  /** The signal that its `run` was given. */
  readonly signal: AbortSignal | undefined;
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
  /** How long its health check takes. */
  checkMs = 0;
  /** When the last health check began that did not say yes. */
  unfitSince = -Infinity;
  /** When it was last granted a lease. */
  grantedAt = -Infinity;
  /** Whether the last of `start` and `stop` was `start`. */
  isStarted = false;
  /** Whether the last `stop` has come to its end, and no `start` came after it. */
  hasStopped = false;
  /**
   * When the `stop` that is under way began, how long the process had been idle by then, and whether a signal said it.
   */
  stopping: { readonly at: number; readonly idleMs: number; readonly bySignal: boolean } | null = null;
  /** When the last `stop` began. */
  stoppedAt = Infinity;
  /** Until when, by its monotonic clock, it is not to campaign. */
  coolUntil = -Infinity;
  /** By how long, on its monotonic clock, it was told to make way for another, and since when. */
  #madeWay = { since: -Infinity, until: -Infinity };
  /** Until when it may ask at once, since the lease was released for it. */
  #invitedUntil = -Infinity;
  /** When an answer first said that nobody leads; null since one said that somebody does. */
  #freeSince: number | null = null;
  /** Tries that have not settled. They ask, whatever there is to hold back for, and so may one that was given up. */
  #tries = 0;
  #asks = 0;
  /** Looks of its user that have not settled. */
  #userLooks = 0;
  /** The last version of its metadata. */
  version = 0;
  readonly #stage: Stage;
  /** The calls that have not settled, by a number of each. */
  readonly #calls = new Map<number, Call>();
  /** The calls of its provider that are under way. */
  readonly #provider: Map<ProviderOperation, number> = new Map();
  /** What waits for a phase. */
  readonly #armed: { readonly phase: Phase; readonly action: Action }[] = [];
  /** The signals that it has given to calls, and those among them that stop the election. */
  #signals: AbortController[] = [];
  #stopSignals = 0;
  #count = 0;
  #runs = 0;

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
      logger: null,
      observer: plan.observer,
      campaignDelay: plan.campaignDelay,
      healthCheck: (options) => this.#checkHealth(options),
      clock: process.clock,
      random: random.next,
    });
  }

  /** Whether it would have to lead if nobody else did. */
  get couldLead(): boolean {
    return this.isStarted && this.stopping === null && this.isFit &&
      this.checkMs < this.#stage.timing.requestTimeout / 2 &&
      !this.plan.observer && !this.process.blocked && this.process.monotonic() > this.coolUntil && !this.makesWay &&
      this.works.every(({ settled }) => settled);
  }

  /** Whether it was told that the lease is for another. */
  get makesWay(): boolean {
    return this.process.monotonic() < this.#madeWay.until;
  }

  /** Where it is, as seen from outside. */
  get phase(): Phase {
    if (this.stopping !== null) return "stopping";
    if (!this.isStarted) return this.stoppedAt === Infinity ? "idle" : "stopped";
    if (this.election.isLeader) return "leading";
    if (this.#isCalling("release")) return "releasing";
    if (this.#isCalling("acquire")) return "looking";
    if (this.works.some(({ term, settled }) => !settled && term.signal.aborted && term.isValid)) return "draining";
    return this.#isCalling("healthCheck") ? "checking" : "waiting";
  }

  onCall(operation: ProviderOperation, termId: string | null): void {
    this.#provider.set(operation, (this.#provider.get(operation) ?? 0) + 1);
    const { history } = this.#stage;
    const writes = operation === "acquire" || operation === "renew" || operation === "release";
    if (writes && this.plan.observer) history.violate("S10", `the observer ${this.name} sent: ${operation}`);
    if (this.hasStopped && operation !== "release" && operation !== "read") {
      history.violate("S9", `${this.name} sends ${operation} after its stop`);
    }
    if (operation !== "acquire" || termId === null) return;
    this.asked.add(termId);
    if (this.election.isLeader) history.violate("S11", `${this.name} asks for a lease while it leads`);
    if (this.process.monotonic() < this.coolUntil - 0.001) {
      history.violate("L2", `${this.name} campaigns while it cools down`);
    }
    this.#checkRestraint();
  }

  onTransfer(participantId: string): void {
    const since = this.process.monotonic();
    const until = since + 2_000;
    const isInvited = participantId === this.name;
    this.#invitedUntil = isInvited ? until : -Infinity;
    this.#madeWay = isInvited ? { since: -Infinity, until: -Infinity } : { since, until };
    this.#stage.history.note(this.name, () => `hears that the lease is for ${participantId}`);
  }

  /** H1 and H2: it keeps the hints that it was given. */
  #checkRestraint(): void {
    if (this.#tries > 0 || this.#asks-- > 0) return;
    this.#asks = 0;
    const now = this.process.monotonic();
    const { campaignDelay } = this.plan;
    const { history } = this.#stage;
    // What reaches it at this very moment, it may not have read yet.
    if (now > this.#madeWay.since && now < this.#madeWay.until - 0.001) {
      history.violate("H2", `${this.name} campaigns while it makes way`);
    }
    if (campaignDelay === 0 || now < this.#invitedUntil) return;
    if (this.#freeSince === null || now < this.#freeSince + campaignDelay - 0.001) {
      history.violate("H1", `${this.name} campaigns before its delay is over`);
    }
  }

  onEnd(operation: ProviderOperation): void {
    this.#provider.set(operation, (this.#provider.get(operation) ?? 0) - 1);
  }

  onAnswer({ operation, termId, sent, answer }: CallReport): void {
    if (operation === "read") this.#sees(answer);
    if (termId === null) return;
    const { history } = this.#stage;
    const granted = typeof answer === "object" && answer !== null && "acquired" in answer && answer.acquired === true;
    if (operation === "acquire") this.#sees(granted || (answer as { readonly leader?: unknown }).leader);
    if (granted) {
      this.grantedAt = this.#stage.world.now;
      // It led, by a try of its user's: what it held back for is over.
      this.#madeWay = { since: -Infinity, until: -Infinity };
    }
    if (granted || answer === "renewed") this.#prolong(termId, sent);
    if (answer === "lost") this.lost.set(termId, this.#stage.world.count);
    const outcome = typeof answer === "string" ? answer : granted ? "granted" : "held";
    history.note(this.name, () => `${operation} of ${history.term(termId)}: ${outcome}`);
  }

  #sees(leader: unknown): void {
    // The answer may be for its user, and not for its campaign.
    if (leader !== null && this.#userLooks > 0) return;
    this.#freeSince = leader === null ? this.#freeSince ?? this.process.monotonic() : null;
  }

  /** Does what its user does: at once, or as soon as it is in a phase. */
  do(action: Action & { readonly when?: Phase }): void {
    const { when } = action;
    if (when === undefined) this.#do(action);
    else this.#armed.push({ phase: when, action });
  }

  /** Does what was waiting for the phase in which it is. */
  notice(): void {
    const { now, quietAt } = this.#stage.world;
    if (this.#armed.length === 0 || this.process.blocked || now >= quietAt) return;
    const { phase } = this;
    const index = this.#armed.findIndex((each) => each.phase === phase);
    if (index < 0) return;
    for (const { action } of this.#armed.splice(index, 1)) {
      this.#stage.world.at(now, () => this.#do(action), this.process);
    }
  }

  #isCalling(operation: ProviderOperation): boolean {
    return (this.#provider.get(operation) ?? 0) > 0;
  }

  #prolong(termId: string, sent: Instant): void {
    const known = this.prolonged.get(termId);
    // The answer of an earlier request may come later.
    const isNewer = known === undefined || this.process.elapsedSince(sent) < this.process.elapsedSince(known.sent);
    if (isNewer) this.prolonged.set(termId, { sent, before: known?.sent ?? sent });
  }

  async #checkHealth({ signal }: { readonly signal: AbortSignal }): Promise<boolean> {
    const began = this.#stage.world.now;
    const unfit = () => void (this.unfitSince = Math.max(this.unfitSince, began));
    this.#provider.set("healthCheck", (this.#provider.get("healthCheck") ?? 0) + 1);
    signal.addEventListener("abort", unfit, { once: true });
    try {
      if (this.checkMs > 0) await sleep(this.process.clock, this.checkMs);
      if (!this.isFit) unfit();
      return this.isFit;
    } finally {
      this.onEnd("healthCheck");
    }
  }

  #do(action: Action): void {
    if (action.do === "chain") return void this.#chain(action);
    if (action.do === "health") {
      this.isFit = action.fit;
      this.checkMs = action.takesMs;
      return;
    }
    void this.#call(action).catch(() => {});
  }

  async #chain({ actions, link }: Action & { do: "chain" }): Promise<void> {
    for (const action of actions) {
      if (action.do === "chain" || action.do === "health") continue;
      if (!this.process.alive) return;
      const done = this.#call(action).catch(() => {});
      if (link === "tick") await Promise.resolve();
      if (link === "settled") await done;
    }
  }

  /** Makes one public call, and notes which others it meets. */
  #call(action: Exclude<Action, { do: "chain" | "health" }>): Promise<unknown> {
    const { history, meetings } = this.#stage;
    const { phase } = this;
    history.note(this.name, () => `${describeAction(action)} while ${phase}`);
    for (const other of this.#calls.values()) meetings.add(`${phase}: ${other}, ${action.do}`);
    const number = this.#count++;
    this.#calls.set(number, action.do);
    // One that has settled meets what comes in the same turn all the same.
    const settled = () => queueMicrotask(() => queueMicrotask(() => this.#calls.delete(number)));
    const done = this.#make(action);
    done.then(settled, settled);
    return done;
  }

  #make(action: Exclude<Action, { do: "chain" | "health" }>): Promise<unknown> {
    const { election } = this;
    switch (action.do) {
      case "start":
        return this.#start(action.signal);
      case "stop":
        return this.#stop();
      case "abort":
        this.#abort();
        return Promise.resolve();
      case "release":
        if (action.to !== undefined && action.to !== this.who) return this.#transfer(action.to);
        if (election.isLeader) this.coolUntil = this.process.monotonic() + action.cooldownMs;
        return election.releaseLeadership({ cooldown: action.cooldownMs });
      case "try":
        this.coolUntil = -Infinity;
        this.#tries++;
        this.#asks++;
        return election.tryAcquireLeadership(this.#signal(action.signal)).then((result) => {
          if (result.outcome === "elected") this.#stage.onElected(this, result.term);
        }).finally(() => this.#tries--);
      case "look":
        this.#userLooks++;
        return election.getCurrentLeader().finally(() => this.#userLooks--);
      case "wait":
        return this.#wait(election.waitForLeadership(this.#signal(action.signal)));
      case "waitForLeader":
        return this.#wait(election.waitForLeader());
      case "metadata":
        return election.updateMetadata({ version: String(++this.version) });
      case "evict":
        return new Promise((resolve) => {
          const { world, server } = this.#stage;
          world.at(world.now, () => resolve(server.evict()));
        });
      case "subscribe":
        void this.#subscribe(action.readEveryMs);
        return Promise.resolve();
      case "run":
        return this.#run(action);
    }
  }

  /** A signal for a call, if it is to have one. */
  #signal(isWanted: boolean): { signal?: AbortSignal } {
    if (!isWanted) return {};
    const controller = new AbortController();
    this.#signals.push(controller);
    return { signal: controller.signal };
  }

  #start(withSignal: boolean): Promise<void> {
    this.isStarted = true;
    this.hasStopped = false;
    // The end of a stop that a signal has begun cannot be told from here any more.
    if (this.stopping?.bySignal) this.stopping = null;
    if (withSignal) this.#stopSignals++;
    return this.election.start(this.#signal(withSignal));
  }

  /** Aborts every signal that was given to a call so far. One that was given to `start` since the last stop stops. */
  #abort(): void {
    const stops = this.#stopSignals > 0;
    if (stops) this.#noteStop(true);
    for (const controller of this.#signals.splice(0)) controller.abort();
  }

  #noteStop(bySignal: boolean): void {
    this.isStarted = false;
    this.coolUntil = -Infinity;
    this.stoppedAt = this.#stage.world.now;
    this.#stopSignals = 0;
    this.stopping ??= { at: this.#stage.world.now, idleMs: this.process.idleMs, bySignal };
  }

  #stop(): Promise<void> {
    const { history } = this.#stage;
    this.#noteStop(false);
    const stopped = this.election.stop().then(() => this.noteStopped());
    stopped.catch((error) => history.violate("L5", `stop() of ${this.name} failed: ${error}`));
    return stopped;
  }

  /** A stop has come to its end. */
  noteStopped(): void {
    const { history } = this.#stage;
    this.stopping = null;
    if (this.isStarted) return;
    this.hasStopped = true;
    history.note(this.name, () => "has stopped");
    const { isLeader, status } = this.election;
    if (isLeader || status.role !== "stopped") history.violate("S9", `${this.name} is ${status.role} after its stop`);
    if (status.nextElectionAttempt !== null) history.violate("S9", `${this.name} means to look again after its stop`);
  }

  #transfer(to: number): Promise<void> {
    if (this.election.isLeader) {
      this.coolUntil = this.process.monotonic() + 2_000;
    }
    return this.election.transferLeadership({ to: `p${to + 1}` });
  }

  #wait(promise: Promise<unknown>): Promise<unknown> {
    const { history } = this.#stage;
    this.waits++;
    return promise.then((value) => {
      if (value === null || value === undefined) history.violate("E4", `a wait of ${this.name} came to nothing`);
    }).finally(() => this.waits--);
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

  async #run({ workMs, drainMs, once, signal: withSignal }: Action & { do: "run" }): Promise<void> {
    if (this.#runs === MOST_RUNS) return;
    this.#runs++;
    const { clock } = this.process;
    const { signal } = this.#signal(withSignal);
    let last: Work | null = null;
    const work = async (term: Term) => {
      const record: Work = last = { term, settled: false, toldAt: null, signal };
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
        return DONE;
      } finally {
        record.settled = true;
      }
    };
    try {
      const result = await this.election.run(work, { once, ...(signal && { signal }) });
      const { term, toldAt = null } = (last ?? {}) as Partial<Work>;
      const wasInterrupted = toldAt !== null && term?.signal.reason?.reason !== "released";
      if (result === DONE && term !== undefined && !wasInterrupted) this.#stage.onDone(this, term);
    } finally {
      this.#runs--;
    }
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
/** What work returns. */
const DONE = "done";

function describeAction({ do: what, ...details }: Action): string {
  const rest = Object.entries(details).filter(([key]) => key !== "at" && key !== "who" && key !== "when");
  return [what, ...rest.map(([key, value]) => `${key}=${value}`)].join(" ");
}
