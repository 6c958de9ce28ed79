/**
 * The state machine of one participant.
 *
 * Stopped, `start` makes it a follower. A follower whose `acquire` answers *acquired* becomes the leader, and a follower again
 * when its term ends; `stop` leads back from everywhere. A term ends at once when the backend says `lost` or its deadline
 * passes; it is given up gracefully (`stepDown`) on a release, an unhealthy check and a stop.
 *
 * @module
 */

import { Backend, type Metadata } from "./backend.ts";
import { lookDelay } from "./backoff.ts";
import { ChangeHub, type LeadershipChangeType } from "./changes.ts";
import { instant } from "./clock.ts";
import { ElectionError, type LostReason } from "./errors.ts";
import { Heartbeat } from "./heartbeat.ts";
import { LeaderView } from "./leader_view.ts";
import { leadershipChange } from "./leadership_change.ts";
import { Lookout } from "./lookout.ts";
import { type Log, logOf } from "./logger.ts";
import type { ElectionConfig } from "./options.ts";
import type { Acquired, Held, LeaderInfo, Provider } from "./provider.ts";
import { openSession, type Session, stopWhen } from "./session.ts";
import { LeaseTerm } from "./term.ts";
import { Waiters } from "./waiters.ts";

/** One participant, as its {@linkcode LeaderElection} drives it. */
export class Participant {
  /** The calls to the provider. */
  readonly backend: Backend;
  /** Those who wait for a term or a leader. */
  readonly waiters = new Waiters();
  /** Where changes are published. Each session has its own, so that the streams of a stopped one have ended. */
  hub: ChangeHub;
  /** When the lease was last asked for, or the leader looked for. */
  lastAttempt: Date | null = null;
  /** When that happens next, at the latest. */
  nextAttempt: Date | null = null;
  readonly #config: ElectionConfig;
  readonly #log: Log;
  readonly #view: LeaderView;
  /** One promise for each piece of work that has not settled. */
  readonly #work = new Set<Promise<void>>();
  #metadata: Metadata;
  #session: Session | null = null;
  /** Whether the last session has ended, and no other has begun. */
  #isClosed = false;
  #stopping: Promise<void> | null = null;
  /** How many times `stop` was called. */
  #stops = 0;
  #term: LeaseTerm | null = null;
  #heartbeat: Heartbeat | null = null;
  #steppingDown: Promise<void> | null = null;
  /** The monotonic time before which not to campaign. */
  #coolUntil = -Infinity;

  /** Makes a participant that is not started. */
  constructor(provider: Provider, config: ElectionConfig) {
    this.#config = config;
    this.#log = logOf(config);
    this.#metadata = config.metadata;
    this.#view = new LeaderView(config.clock);
    this.hub = new ChangeHub(config.clock);
    this.backend = new Backend(provider, config, (message, error) => this.#log("warn", message, { error }));
  }

  /** The term that is led; null while none is, or while it is being given up. */
  get term(): LeaseTerm | null {
    return this.#term !== null && !this.#term.ending && this.#term.isValid ? this.#term : null;
  }

  /** The leader as it is known here: the own term as long as it lasts, else what was last seen. */
  get leader(): LeaderInfo | null {
    return this.#term?.describe(this.#metadata) ?? this.#view.current;
  }

  /** Whether a session is open. */
  get isStarted(): boolean {
    return this.#session !== null;
  }

  /** Whether it is stopping or has been stopped; before the first `start` it is not. */
  get isStopped(): boolean {
    return this.#isClosed || this.#stopping !== null;
  }

  /** Opens a session, if none is open, and waits for its first look. */
  async start(signals: readonly AbortSignal[]): Promise<void> {
    const stops = this.#stops;
    while (this.#stopping !== null) await this.#stopping;
    // S9: another stop came while this start waited for the end of an earlier one. The last word counts.
    if (this.#stops !== stops) return;
    const session = this.#session ??= this.#open();
    for (const signal of signals) stopWhen(signal, session, () => void this.stop());
    await session.ready.promise;
  }

  /** Closes the session. */
  stop(): Promise<void> {
    this.#stops++;
    if (this.#isClosed) return Promise.resolve();
    return this.#stopping ??= this.#close(this.#session).finally(() => this.#stopping = null);
  }

  /** Gives up the term, if there is one, and does not campaign for `cooldownMs`. */
  async release(cooldownMs: number): Promise<void> {
    if (this.#term !== null) await this.#stepDown(this.#term, "released", cooldownMs);
  }

  /** Asks for the lease now. The answer may be of the term that is led already. */
  async attempt(): Promise<Acquired | Held> {
    if (this.#steppingDown !== null) await this.#steppingDown;
    if (this.#term !== null) return { acquired: true, lease: this.#term.lease };
    if (!(await this.backend.isHealthy())) throw this.refusal("acquire the lease", "the health check failed");
    if (this.#session === null) throw this.refusal("acquire the lease", "it is not started");
    return await this.#acquire(this.#session);
  }

  /** Replaces the metadata, also in the record of the term that is led. */
  async updateMetadata(metadata: Metadata): Promise<void> {
    this.#metadata = metadata;
    await this.#heartbeat?.sendMetadata();
  }

  /** Keeps the lease, and puts off the next term, until `settled` resolves. */
  keepWork(settled: Promise<void>): void {
    this.#work.add(settled);
    void settled.finally(() => {
      this.#work.delete(settled);
      // While it lasted, looks only watched; now they may campaign.
      this.#session?.lookout.hint();
    });
  }

  /** Builds the error of a call that cannot be served. */
  refusal(verb: string, why: string): ElectionError {
    return new ElectionError(`Cannot ${verb} in election "${this.#config.electionGroup}": ${why}`);
  }

  #open(): Session {
    if (this.#isClosed) this.hub = new ChangeHub(this.#config.clock);
    this.#isClosed = false;
    this.#coolUntil = -Infinity;
    const onBroken = (error: unknown) => this.#log("debug", "the hints broke off", { error });
    const session = openSession(new Lookout(this.#config, this.backend, onBroken));
    void this.#campaign(session);
    return session;
  }

  /** Looks, leads or waits, until the session ends. Never rejects. */
  async #campaign(session: Session): Promise<void> {
    const { lookout, stopped: { signal } } = session;
    for (let failures = 0; !signal.aborted;) {
      let delay: number;
      try {
        delay = await this.#look(session);
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        this.#log("warn", "a look at the backend failed", { error });
        delay = lookDelay(++failures, this.#config);
      }
      session.ready.resolve();
      if (this.#term !== null) {
        await this.#term.over;
      } else {
        this.nextAttempt = new Date(this.#config.clock.wall() + delay);
        await lookout.wait(delay, signal);
      }
    }
  }

  /** Looks once. Returns after how many milliseconds to look again. */
  async #look(session: Session): Promise<number> {
    const { signal } = session.stopped;
    await this.backend.connect();
    const cooling = this.#coolUntil - this.#config.clock.monotonic();
    // S7: a new term does not begin before the work of the old one has settled.
    const rests = this.#config.observer || cooling > 0 || this.#work.size > 0;
    const campaigns = !rests && await this.backend.isHealthy();
    let leader: LeaderInfo | null;
    if (campaigns && !signal.aborted) {
      const answer = await this.#acquire(session);
      if (answer.acquired) return 0;
      leader = answer.leader;
    } else {
      this.lastAttempt = new Date(this.#config.clock.wall());
      leader = await this.backend.read(signal);
      this.#see(leader);
    }
    if (signal.aborted) return 0;
    session.lookout.follow();
    const delay = session.lookout.delayAfter(leader);
    return cooling > 0 ? Math.min(delay, cooling) : delay;
  }

  /** Asks for the lease; joins the call that is under way. */
  #acquire(session: Session): Promise<Acquired | Held> {
    return session.acquiring ??= this.#acquireOnce(session).finally(() => session.acquiring = null);
  }

  async #acquireOnce(session: Session): Promise<Acquired | Held> {
    if (session.stopped.signal.aborted) throw this.refusal("acquire the lease", "it was stopped");
    if (this.#work.size > 0) throw this.refusal("acquire the lease", "the work of the last term has not settled");
    const { clock, validFor } = this.#config;
    const termId = session.unanswered ??= crypto.randomUUID();
    const metadata = this.#metadata;
    this.lastAttempt = new Date(clock.wall());
    // Read before the request goes out, never after: the lease may run from any moment since.
    const sent = instant(clock);
    const answer = await this.backend.acquire(termId, metadata);
    session.unanswered = null;
    if (!answer.acquired) {
      this.#see(answer.leader);
      return answer;
    }
    const term = new LeaseTerm(answer.lease, clock, sent, validFor);
    // S9: no term begins after a stop. S1: an answer that took as long as the lease is no right to lead.
    if (session.stopped.signal.aborted || !term.isValid) {
      await this.backend.giveBack(termId);
      return { acquired: false, leader: null };
    }
    this.#beginTerm(session, term, metadata);
    return answer;
  }

  #beginTerm(session: Session, term: LeaseTerm, metadata: Metadata): void {
    const previous = this.#view.current;
    this.#view.see(null);
    this.#term = term;
    session.lookout.unfollow();
    this.#heartbeat = new Heartbeat(term, metadata, this.#config, this.backend, {
      metadata: () => this.#metadata,
      failed: (error) => this.#log("warn", "a heartbeat failed", { termId: term.termId, error }),
      unhealthy: () => void this.#stepDown(term, "unhealthy", 0),
      over: (reason) => this.#endTerm(term, reason),
    });
    this.#log("info", "acquired leadership", { termId: term.termId, token: term.token });
    this.#publish("acquired", previous);
    this.waiters.check();
    session.lookout.interrupt();
  }

  /** Gives a term up gracefully; joins the step-down that is under way. */
  #stepDown(term: LeaseTerm, reason: LostReason, cooldownMs: number): Promise<void> {
    this.#coolUntil = Math.max(this.#coolUntil, this.#config.clock.monotonic() + cooldownMs);
    return this.#steppingDown ??= this.#drainAndRelease(term, reason).finally(() => this.#steppingDown = null);
  }

  /**
   * The order is the safety argument. (1) The signal tells the work to stop, and `isLeader` is false from here on. (2) The
   * heartbeats go on while the work drains, so nobody else can lead as long as it runs, at most `drainTimeout`; should the
   * lease be lost meanwhile, the term is over at once. (3) The term becomes invalid *before* (4) the release is sent, since
   * another may lead from the moment it arrives. (5) If the release fails, the lease expires by itself.
   */
  async #drainAndRelease(term: LeaseTerm, reason: LostReason): Promise<void> {
    term.cancel(reason);
    const drained = new AbortController();
    const bound = this.backend.queue.pause(this.#config.drainTimeout, drained.signal);
    await Promise.race([Promise.all(this.#work), bound, term.over]);
    drained.abort();
    if (this.#term !== term) return;
    this.#heartbeat?.stop();
    term.end(reason);
    await this.backend.giveBack(term.termId);
    this.#endTerm(term, reason);
  }

  /** Ends a term for good. The state changes first, then the event is published. */
  #endTerm(term: LeaseTerm, reason: LostReason): void {
    if (this.#term !== term) return;
    const previous = term.describe(this.#metadata);
    term.end(reason);
    this.#heartbeat?.stop();
    this.#heartbeat = null;
    this.#term = null;
    this.#log("info", "lost leadership", { termId: term.termId, token: term.token, reason });
    this.#publish("lost", previous, reason);
    term.finish();
  }

  async #close(session: Session | null): Promise<void> {
    session?.stopped.abort(this.refusal("go on", "it was stopped"));
    this.waiters.rejectAll(this.refusal("wait", "it was stopped"));
    session?.lookout.unfollow();
    if (this.#term !== null) await this.#stepDown(this.#term, "stopped", 0);
    // An acquire that is under way is bounded, and gives back what it is granted.
    await session?.acquiring?.catch(() => {});
    if (session?.unanswered) await this.backend.giveBack(session.unanswered);
    this.backend.cancel();
    session?.ready.resolve();
    this.#session = null;
    this.#isClosed = true;
    this.nextAttempt = null;
    this.#view.see(null);
    this.hub.close();
    await this.backend.disconnect();
  }

  /** Takes note of the leader that a look found. */
  #see(leader: LeaderInfo | null): void {
    const previous = this.#view.last;
    if (this.#term === null && this.#view.see(leader)) this.#publish("changed", previous);
    this.waiters.check();
  }

  #publish(type: LeadershipChangeType, previous: LeaderInfo | null, reason?: LostReason): void {
    if (!this.hub.active) return;
    const at = new Date(this.#config.clock.wall());
    this.hub.publish(leadershipChange(type, at, previous, this.leader, reason));
  }
}
