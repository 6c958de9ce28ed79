/**
 * Decides, at every instant of a simulation, whether the properties of the design hold.
 *
 * @module
 */

import type { LeadershipChange } from "../../src/changes/change.ts";
import type { Term } from "../../src/participant/term.ts";
import type { Actor, Subscription, Work } from "./actor.ts";
import type { History } from "./history.ts";
import type { Scenario } from "./scenario.ts";
import type { SimulatedServer } from "./server.ts";
import type { World } from "./world.ts";

/** What rounding and the timers of a process may add, in milliseconds. */
const SLACK_MS = 20;
/** How late a process may notice that its machine was suspended, or its wall clock stepped. */
const NOTICE_MS = 1_100;

/** A term that a participant has had. */
interface KnownTerm {
  readonly term: Term;
  /** When it was first seen. */
  readonly since: number;
  wasInvalid: boolean;
  /** Since when its signal should have aborted. */
  overdueSince: number | null;
}

/** The properties; see `docs/proof.md` for which is checked how. */
export class Checker {
  readonly actors: Actor[] = [];
  readonly #scenario: Scenario;
  readonly #world: World;
  readonly #history: History;
  readonly #server: SimulatedServer;
  readonly #validFor: number;
  readonly #known: Map<Actor, Map<string, KnownTerm>> = new Map();
  readonly #eligibleSince: Map<Actor, number> = new Map();
  #leaderlessSince: number | null = null;
  #handOff: { readonly at: number; readonly grants: number } | null = null;

  constructor(scenario: Scenario, world: World, history: History, server: SimulatedServer) {
    this.#scenario = scenario;
    this.#world = world;
    this.#history = history;
    this.#server = server;
    const { heartbeatTimeout, clockRateError, safetyMargin } = scenario.timing;
    this.#validFor = heartbeatTimeout * (1 - clockRateError) - safetyMargin;
  }

  /** Looks at everybody. */
  look(): void {
    if (this.#history.violation !== null) return;
    let leaders = 0;
    let somebodyLeads = false;
    for (const actor of this.actors) {
      const { isLeader, term } = actor.election;
      if (isLeader) leaders++;
      if (term !== null) this.#meet(actor, term);
      for (const known of this.#termsOf(actor).values()) {
        if (known.term.isValid) somebodyLeads = true;
        this.#checkTerm(actor, known);
      }
      this.#checkStop(actor);
      this.#checkWorks(actor);
    }
    if (leaders > 1 && this.#isTimed) {
      const names = this.actors.filter(({ election }) => election.isLeader).map(({ name }) => name);
      this.#history.violate("S1", `${names.join(" and ")} lead at the same instant`);
    }
    this.#checkVacancy(somebodyLeads);
  }

  /** A try was answered with a term, which may have ended already, but was granted. S6 holds for it, too. */
  onElected(actor: Actor, term: Term): void {
    this.#meet(actor, term);
  }

  /** `run` has returned, since its work was done: L2. */
  onDone(actor: Actor, { termId }: Term): void {
    if (this.#scenario.kind === "calm" && this.#server.holder?.termId === termId) {
      this.#history.violate("L2", `run() of ${actor.name} returns before its lease is released`);
    }
  }

  /** Work begins: S7 and S9. */
  onWork(actor: Actor, { term, signal }: Work): void {
    this.#meet(actor, term);
    if (signal?.aborted) this.#history.violate("S9", `work begins on ${actor.name} after its signal has aborted`);
    if (!actor.isStarted) this.#history.violate("S9", `work begins on ${actor.name} after stop()`);
    if (actor.works.some((work) => !work.settled && work.term.termId !== term.termId)) {
      this.#history.violate("S7", `work begins on ${actor.name} while that of its last term drains`);
    }
    if (!this.#isTimed) return;
    const { drainTimeout } = this.#scenario.timing;
    for (const other of this.actors) {
      const drains = !other.process.wasSetBack &&
        other.works.some(({ settled, toldAt, term: { termId } }) =>
          !settled && other !== actor && !this.#isPast(other, termId) && !other.lost.has(termId) &&
          (toldAt === null || other.process.elapsedSince(toldAt) < drainTimeout - 0.001)
        );
      if (drains) {
        const alias = this.#history.term(term.termId);
        this.#history.violate("S7", `work of ${alias} begins on ${actor.name} while that of ${other.name} drains`);
      }
    }
  }

  /** A subscriber is handed a change: E1, E3, L7. */
  onChange(actor: Actor, { type, reason, previous }: LeadershipChange, subscription: Subscription): void {
    const { name } = actor;
    if (!subscription.isSlow) this.#history.note(name, () => `${type}${reason === undefined ? "" : ` (${reason})`}`);
    if (type === "changed") return;
    const leads = type === "acquired";
    if (leads === subscription.leads) {
      this.#history.violate(subscription.isSlow ? "E3" : "E1", `${name} was handed "${type}" twice in a row`);
    }
    subscription.leads = leads;
    if (type !== "lost" || subscription.isSlow || previous === null) return;
    const { termId } = previous;
    const alias = this.#history.term(termId);
    if (reason === "unhealthy" && actor.unfitSince < (this.#known.get(actor)?.get(termId)?.since ?? -Infinity)) {
      this.#history.violate("L7", `${name} gave up ${alias} as unhealthy, by a check that began before it`);
    }
    if (reason === "expired") this.#checkExpiry(actor, termId);
    if (reason === "lost" && !actor.lost.has(termId)) {
      this.#history.violate("L7", `${name} gave up ${alias} as lost, which the backend never said`);
    }
    // The answer that would have prolonged it may have come, or have been looked at, too late. And the process may have
    // stalled between its look at the clock and the request: then it counts from earlier than the request was seen to
    // be sent.
    const stalledMs = this.#world.stalled * actor.plan.rate;
    const isPast = (which: "sent" | "before") => this.#isPast(actor, termId, -stalledMs, which);
    if (reason === "expired" && !isPast("sent") && !isPast("before")) {
      this.#history.violate("L7", `${name} gave up ${alias} as expired before its deadline`);
    }
    const isSpared = reason === "lost" && this.#server.evicted.has(termId);
    if (this.#scenario.kind === "calm" && (reason === "lost" || reason === "expired") && !isSpared) {
      this.#history.violate("L7", `${name} was deposed (${reason}) although nothing went wrong`);
    }
  }

  /** The quiet has lasted: what subscribers know, and what the record says, must be so. E2, E3. */
  checkSettled(): void {
    for (const actor of this.actors) {
      const { name, election, subscriptions, process, version } = actor;
      if (process.blocked) continue;
      const { holder } = this.#server;
      const isOurs = election.term !== null && holder?.termId === election.term.termId;
      // A message that comes late, or again, may overwrite what came after it.
      const isOrderly = this.#scenario.faults.every(({ harm }) => harm !== "bad network" && harm !== "freeze");
      if (
        isOurs && isOrderly && !this.#scenario.refusesMetadata && Number(holder.metadata["version"] ?? 0) !== version
      ) {
        this.#history.violate("E2", `the record of ${name} never got the metadata that it was given last`);
      }
      for (const { isSlow, leads, last, ended } of subscriptions) {
        if (isSlow || ended || last === null) continue;
        const seen = last.current?.termId;
        const now = election.status.currentLeader?.termId;
        // While a term is being given up it leads no more, and has not lost it yet.
        const isEnding = leads && seen !== undefined && seen === now;
        if ((leads ?? false) !== election.isLeader && !isEnding) {
          this.#history.violate("E2", `a subscriber of ${name} believes the opposite of its status`);
        }
        if (seen !== undefined && now !== undefined && seen !== now) {
          this.#history.violate("E2", `a subscriber of ${name} knows another leader than its status`);
        }
      }
    }
  }

  /** Everybody has stopped: L5, L6, E3. */
  checkStopped(): void {
    for (const { name, hasStopped, process, works, subscriptions } of this.actors) {
      if (!hasStopped) this.#history.violate("L5", `stop() of ${name} has not come to an end`);
      const atWork = works.some(({ settled }) => !settled);
      if (!atWork && process.timers > 0) this.#history.violate("L6", `${name} left ${process.timers} timers behind`);
      if (subscriptions.some(({ leads }) => leads === true)) {
        this.#history.violate("E3", `a subscriber of ${name} never heard of the loss`);
      }
      if (subscriptions.some(({ ended }) => !ended)) this.#history.violate("E4", `a stream of ${name} did not end`);
    }
  }

  /** Whether clocks are good enough, and the store reliable enough, for what rests on time. */
  get #isTimed(): boolean {
    return this.#scenario.kind !== "drifting" &&
      this.#world.now > this.#server.forgotAt + this.#scenario.timing.heartbeatTimeout;
  }

  /**
   * A term has expired. L3: where only clocks were set, its lease lives on, and must be given back as soon as the work
   * has drained. L7: where the backend was out of reach, it was not within reach again long before the deadline.
   */
  #checkExpiry(actor: Actor, termId: string): void {
    const { kind, timing, latencyMs, timerLatenessMs, faults } = this.#scenario;
    const { now } = this.#world;
    const wire = 2 * latencyMs + timerLatenessMs + SLACK_MS;
    if (kind === "stepped" && actor.phase !== "stopping") {
      const drain = actor.works.some(({ settled }) => !settled) ? timing.drainTimeout / actor.plan.rate : 0;
      this.#world.at(now + drain + wire, () => {
        const isOver = !actor.process.alive || !actor.isStarted;
        if (this.#server.holder?.termId !== termId || isOver) return;
        this.#history.violate(
          "L3",
          `${actor.name} keeps the lease of ${this.#history.term(termId)}, which has expired`,
        );
      });
    }
    const isFaulty = faults.some(({ at, until }) => at <= now && now <= until);
    if (kind !== "outages" || isFaulty) return;
    const well = Math.max(-Infinity, ...faults.filter(({ at }) => at <= now).map(({ until }) => until));
    const left = 0.75 * (now - well - timing.requestTimeout / actor.plan.rate);
    if (left > wire) {
      this.#history.violate("L7", `${actor.name} was deposed, though all was well for ${Math.round(now - well)} ms`);
    }
  }

  #termsOf(actor: Actor): Map<string, KnownTerm> {
    let terms = this.#known.get(actor);
    if (terms === undefined) this.#known.set(actor, terms = new Map());
    return terms;
  }

  #meet(actor: Actor, term: Term): void {
    const terms = this.#termsOf(actor);
    if (terms.has(term.termId)) return;
    for (const [termId, known] of terms) if (known.term.signal.aborted && known.wasInvalid) terms.delete(termId);
    terms.set(term.termId, { term, since: this.#world.now, wasInvalid: false, overdueSince: null });
    if (!actor.prolonged.has(term.termId)) {
      this.#history.violate("S8", `${actor.name} leads ${this.#history.term(term.termId)}, which no answer granted`);
    }
  }

  /** Whether, by the clocks of its process, a term may last no longer than now. */
  #isPast({ process, prolonged }: Actor, termId: string, graceMs = 0, which: "sent" | "before" = "sent"): boolean {
    const sent = prolonged.get(termId)?.[which];
    if (sent === undefined) return true;
    return process.elapsedSince(sent) >= this.#validFor + graceMs - 0.001;
  }

  /** S2: who is valid holds the lease. S6: the deadline is kept, and the signal aborts by then. */
  #checkTerm(actor: Actor, known: KnownTerm): void {
    const { term } = known;
    const { process, name } = actor;
    if (term.isValid) {
      known.overdueSince = null;
      const alias = this.#history.term(term.termId);
      // A wall clock that is set back may revive what a step forward had ended: no harm, it had not ended.
      if (known.wasInvalid && !process.clockDisturbed) {
        this.#history.violate("S2", `${alias} of ${name} came to life again`);
      }
      // Another cannot lead yet at that instant, but may at the next: then it is S1.
      if (this.#isTimed && this.#server.holder?.termId !== term.termId) {
        this.#history.suspect("S2", `${alias} of ${name} is valid, but the lease is no longer its own`);
      }
      if (this.#world.count > (actor.lost.get(term.termId) ?? Infinity)) {
        this.#history.violate("S8", `${alias} of ${name} is valid, but the backend said that it is lost`);
      }
      if (this.#isPast(actor, term.termId, 0.002)) {
        this.#history.suspect("S6", `${alias} of ${name} is valid beyond its deadline`);
      }
      return;
    }
    known.wasInvalid = true;
    if (term.signal.aborted || process.blocked || this.#world.now - process.resumedAt < SLACK_MS) {
      known.overdueSince = null;
      return;
    }
    const awake = this.#world.now - this.#world.stalled;
    known.overdueSince ??= awake;
    // A timer whose delay was computed just before a stall, and that was set after it, is late by the stall.
    const grace = SLACK_MS + (process.clockDisturbed ? NOTICE_MS : 0) + this.#world.stalled;
    if (awake - known.overdueSince > grace) {
      this.#history.violate("S6", `the signal of ${this.#history.term(term.termId)} of ${name} did not abort in time`);
    }
  }

  /** Work whose caller does not want it any more must be told so. */
  #checkWorks({ works, process, name }: Actor): void {
    for (const { settled, signal, term } of works) {
      if (settled || !signal?.aborted || term.signal.aborted || process.blocked) continue;
      this.#history.violate("L5", `the work of ${name} was not told that the signal of its run has aborted`);
    }
  }

  /** L5: a stop ends in time. E4: nothing waits after it. */
  #checkStop(actor: Actor): void {
    if (actor.stopping?.bySignal && actor.election.status.role === "stopped") actor.noteStopped();
    const { stopping, hasStopped, waits, subscriptions, process, plan, name } = actor;
    if (stopping !== null) {
      const { drainTimeout, lockTimeout, requestTimeout } = this.#scenario.timing;
      const late = process.clockDisturbed || this.#world.stalled > 0 ? 2 * NOTICE_MS : 5 * SLACK_MS;
      const bound = (drainTimeout + lockTimeout + 3 * requestTimeout) / plan.rate + late;
      const took = this.#world.now - stopping.at - (process.idleMs - stopping.idleMs);
      if (took > bound) this.#history.violate("L5", `stop() of ${name} takes more than ${Math.round(bound)} ms`);
    }
    if (!hasStopped) return;
    const { holder } = this.#server;
    // Where no request can come late or again, nor be given up while it is being sent, all that was granted can be
    // given back.
    const isOrderly = this.#scenario.faults.every(({ harm }) => !["bad network", "freeze", "stalls"].includes(harm));
    if (
      isOrderly && actor.stoppedAt >= this.#scenario.quietAt && holder !== null && actor.asked.has(holder.termId) &&
      !actor.prolonged.has(holder.termId)
    ) {
      this.#history.violate("L3", `${name} has stopped, and its ${this.#history.term(holder.termId)} holds the lease`);
    }
    if (waits > 0) this.#history.violate("E4", `a wait of ${name} outlasted its stop`);
    if (subscriptions.some(({ isSlow, ended }) => !isSlow && !ended)) {
      this.#history.violate("E4", `a stream of ${name} outlasted its stop`);
    }
  }

  /** L1, L3, L4: the group is not without a leader for long. L2: after a release, only for as long as a hint takes. */
  #checkVacancy(somebodyLeads: boolean): void {
    const { now } = this.#world;
    let candidates = 0;
    let patient = 0;
    const { heartbeatTimeout, electionInterval, lockTimeout, requestTimeout, retryMaxDelay } = this.#scenario.timing;
    for (const actor of this.actors) {
      if (!actor.couldLead) {
        this.#eligibleSince.delete(actor);
        continue;
      }
      candidates++;
      const since = actor.election.isLeader ? now : Math.max(this.#eligibleSince.get(actor) ?? now, actor.grantedAt);
      this.#eligibleSince.set(actor, since);
      const isPatient = now - since > heartbeatTimeout + electionInterval + 1_000 && !actor.election.isLeader;
      if (isPatient && actor.checkMs === 0 && actor.plan.campaignDelay === 0) patient++;
    }
    this.#checkHandOff(patient);
    // Work that is done at once gives its term up before anybody can see it.
    const since = this.#leaderlessSince ?? now;
    const somebodyLed = somebodyLeads || this.actors.some(({ grantedAt }) => grantedAt > since);
    if (now < this.#scenario.quietAt || somebodyLed || candidates === 0) {
      this.#leaderlessSince = null;
      return;
    }
    this.#leaderlessSince ??= now;
    // The lease of whoever led runs out; then one look, of which an earlier may have to fail first; clocks may be slow.
    // Where all who are there hold back, the first of them leads that much later.
    const delay = Math.max(...this.actors.map(({ plan }) => plan.campaignDelay));
    const bound =
      1.3 * (heartbeatTimeout + electionInterval + 2 * lockTimeout + requestTimeout + retryMaxDelay + delay) + 300;
    if (now - this.#leaderlessSince > bound) {
      const holder = this.#server.holder;
      const why = holder === null
        ? "nobody holds the lease"
        : `${holder.participantId} holds the lease and does not lead`;
      this.#history.violate(holder === null ? "L1" : "L3", `nobody leads for ${Math.round(bound)} ms; ${why}`);
    }
  }

  /** L2, where nothing goes wrong and somebody has long been waiting with a live stream of hints. */
  #checkHandOff(patient: number): void {
    const { kind, watch, latencyMs, timerLatenessMs } = this.#scenario;
    if (kind !== "calm" || !watch) return;
    const { releasedAt, grants } = this.#server;
    if (this.#handOff?.at !== releasedAt) {
      this.#handOff = { at: releasedAt, grants: patient > 0 ? grants.length : Infinity };
    }
    // A hint there, a request back, and the spread that keeps followers from coming all at once.
    const bound = 2 * latencyMs + timerLatenessMs + 10 + SLACK_MS;
    if (this.#world.now > releasedAt + bound && grants.length === this.#handOff.grants && patient > 0) {
      this.#history.violate("L2", `nobody was granted the lease within ${bound} ms of its release, with hints`);
    }
  }
}
