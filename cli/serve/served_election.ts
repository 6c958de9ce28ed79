/**
 * One election, as `elect serve` shows it: who leads, until when, and the terms that were seen.
 *
 * @module
 */

import type { LeaderElection, LeaderInfo, LeadershipChange, LostReason, Provider } from "../../mod.ts";
import type { ElectionConfig } from "../../src/options.ts";
import { redact } from "../../src/redact.ts";
import { EventStream } from "./event_stream.ts";

/** The number of terms, and of participants that have led, that are kept. */
const KEPT = 200;
/** The greatest age of what is shown of somebody else's lease while somebody looks, in milliseconds. */
const FRESH_MS = 1_000;
/** The longest time for a look at the backend on behalf of somebody who asks, in milliseconds. */
const LOOK_MS = 2_000;

/** Why a term ended, as far as can be told from here. */
export type EndReason = LostReason | "ended";

/** A term that was seen. */
interface SeenTerm {
  readonly leaderId: string;
  readonly termId: string;
  readonly token: bigint;
  readonly since: Date;
  until: Date | null;
  reason: EndReason | null;
}

/** The last reading of the backend, and its time. */
interface Look {
  readonly leader: LeaderInfo | null;
  readonly at: number;
}

/** See the module. */
export class ServedElection {
  readonly election: LeaderElection;
  readonly events: EventStream = new EventStream();
  /** The events of all elections that are served. */
  readonly #all: EventStream;
  readonly #config: ElectionConfig;
  readonly #provider: Provider;
  readonly #terms: SeenTerm[] = [];
  readonly #participants = new Map<string, Date>();
  #looking: Promise<void> | null = null;
  #look: Look | null = null;
  /** Rises with each change, so that a look that began before it is known to be older. */
  #changes = 0;
  /** When the lease of a term could expire, by the monotonic clock; `at` is null where only the backend knows. */
  #lease: { readonly termId: string; readonly at: number | null } | null = null;
  #isReady = false;
  #poll: ReturnType<typeof setInterval>;
  #error: { readonly at: Date; readonly message: string } | null = null;

  constructor(election: LeaderElection, config: ElectionConfig, provider: Provider, all: EventStream) {
    this.election = election;
    this.#config = config;
    this.#provider = provider;
    this.#all = all;
    if (!config.observer) this.#participants.set(election.participantId, new Date(config.clock.wall()));
    this.#poll = setInterval(() => {
      this.#remember(election.status.currentLeader);
      // A lease that is renewed must not seem to have run out: it would be said to have expired when it is given back.
      const isOld = (this.#lease?.at ?? Infinity) - config.clock.monotonic() < 2 * FRESH_MS;
      if (this.#readers > 0 || isOld && this.#terms.at(-1)?.until === null) void this.refresh();
    }, FRESH_MS);
  }

  /** Begins. Resolves when the first look has come to an end. @throws what `LeaderElection.start` throws */
  async start(): Promise<void> {
    const changes = this.election.changes();
    void this.#follow(changes);
    await this.election.start();
    this.#isReady = true;
    await this.refresh();
  }

  /** Hands leadership over, tells the readers, and ends their streams. */
  async stop(): Promise<void> {
    this.#isReady = false;
    await this.election.stop();
    clearInterval(this.#poll);
    this.#tell("bye", { electionGroup: this.election.electionGroup });
    this.events.close();
  }

  /** True from the end of the first look to the beginning of the stop. */
  get isReady(): boolean {
    return this.#isReady;
  }

  /** A renewal has moved the deadline. */
  renewed(): void {
    this.#tellLease();
  }

  /** Looks at the backend, unless that was done a moment ago. Never rejects: see `backend` of what is shown. */
  async refresh(): Promise<void> {
    // A term of our own is known better here than there.
    if (this.election.isLeader) return;
    if (this.#look !== null && this.#config.clock.monotonic() - this.#look.at < FRESH_MS / 2) return;
    await (this.#looking ??= this.#refresh().finally(() => this.#looking = null));
  }

  /** All that is known, as it goes to whoever asks. */
  get state(): Readonly<Record<string, unknown>> {
    const { election, leader } = this;
    const { term } = election;
    const { lastError } = election.status;
    const error = lastError === null
      ? this.#error
      : { at: lastError.at, message: redact(lastError.error instanceof Error ? lastError.error.message : "failed") };
    return {
      electionGroup: election.electionGroup,
      participantId: this.#config.observer ? null : election.participantId,
      role: this.#config.observer && election.status.role === "follower" ? "observer" : election.status.role,
      provider: this.#provider.name,
      leader: leader === null ? null : this.#describe(leader),
      term: term && { token: term.token, since: term.acquiredAt, remainingMs: Math.round(term.remaining) },
      heartbeatTimeoutMs: this.#config.heartbeatTimeout,
      validForMs: this.#config.validFor,
      terms: this.#terms.map((each) => ({ ...each })).reverse(),
      participants: [...this.#participants].map(([participantId, lastSeen]) => ({
        participantId,
        lastSeen: participantId === election.participantId ? new Date(this.#config.clock.wall()) : lastSeen,
      })),
      backend: { ok: error === null, error },
      now: new Date(this.#config.clock.wall()),
    };
  }

  /** The leader: by what the own term says, then the last look, then what the election knows. */
  get leader(): LeaderInfo | null {
    const { currentLeader } = this.election.status;
    if (this.election.isLeader || this.#look === null) return currentLeader;
    const { leader, at } = this.#look;
    if (leader === null || leader.expiresIn === null) return leader;
    const expiresIn = leader.expiresIn - (this.#config.clock.monotonic() - at);
    return expiresIn > 0 ? { ...leader, expiresIn } : null;
  }

  async #refresh(): Promise<void> {
    const { clock } = this.#config;
    const [changes, at] = [this.#changes, clock.monotonic()];
    try {
      const leader = await this.election.getCurrentLeader({ signal: AbortSignal.timeout(LOOK_MS) });
      this.#error = null;
      // An answer that crossed a change on its way knows less than the change did.
      if (changes !== this.#changes || this.election.isLeader) return;
      this.#look = { leader, at };
      this.#note(leader);
      this.#tellLease();
    } catch (error) {
      this.#error = { at: new Date(clock.wall()), message: redact(error instanceof Error ? error.message : "failed") };
      this.#tellLease();
    }
  }

  async #follow(changes: AsyncIterable<LeadershipChange>): Promise<void> {
    for await (const change of changes) {
      this.#changes++;
      this.#look = null;
      if (change.type === "lost") this.#end(change.reason ?? "ended", change.at);
      this.#note(change.current, change);
    }
  }

  /** Takes note of who leads. Terms follow one another by their tokens; an older one is old news. */
  #note(leader: LeaderInfo | null, change?: LeadershipChange): void {
    const last = this.#terms.at(-1);
    const at = change?.at ?? new Date(this.#config.clock.wall());
    const isNew = leader !== null && leader.token > (last?.token ?? -1n);
    const isOver = leader === null && last !== undefined && last.until === null;
    if (isNew || isOver) this.#end(this.#inferred(), at);
    if (leader !== null) {
      this.#remember(leader);
      this.#see(leader.leaderId, at);
    }
    if (isNew) {
      const { leaderId, termId, token, leadershipAcquiredAt: since } = leader;
      this.#terms.push({ leaderId, termId, token, since, until: null, reason: null });
      if (this.#terms.length > KEPT) this.#terms.shift();
    }
    // A look may have seen our own term before we knew of it: that it has begun, or is over, is told all the same.
    if (!isNew && !isOver && (change === undefined || change.type === "changed")) return;
    const data = {
      at,
      type: change?.type ?? "changed",
      ...(change?.reason !== undefined && { reason: change.reason }),
      ...this.state,
    };
    this.events.publish("change", data);
    this.#all.publish("change", data);
  }

  /** Takes note of who was seen, and forgets whoever has not been for longest: names may differ with each start. */
  #see(participantId: string, at: Date): void {
    this.#participants.delete(participantId);
    this.#participants.set(participantId, at);
    if (this.#participants.size <= KEPT) return;
    const oldest = this.#participants.keys().find((each) => each !== this.election.participantId);
    if (oldest !== undefined) this.#participants.delete(oldest);
  }

  /** Takes note of when a lease can expire, as the latest of the election's looks and ours has it. */
  #remember(leader: LeaderInfo | null): void {
    if (leader === null) return;
    const { termId, expiresIn } = leader;
    const at = expiresIn === null ? null : this.#config.clock.monotonic() + expiresIn;
    const known = this.#lease?.termId === termId ? this.#lease.at : null;
    this.#lease = { termId, at: at === null || known === null ? at : Math.max(at, known) };
  }

  /** Why somebody else's term ended: its lease has expired, or was given back before it could. */
  #inferred(): EndReason {
    if (this.#lease === null || this.#lease.at === null) return "ended";
    return this.#config.clock.monotonic() >= this.#lease.at ? "expired" : "released";
  }

  #end(reason: EndReason, at: Date): void {
    const last = this.#terms.at(-1);
    if (last === undefined || last.until !== null) return;
    last.until = at;
    last.reason = reason;
  }

  #tellLease(): void {
    if (this.#readers === 0) return;
    const { electionGroup, role, leader, term, backend, now } = this.state;
    this.#tell("lease", { electionGroup, role, leader, term, backend, now });
  }

  get #readers(): number {
    return this.events.readers + this.#all.readers;
  }

  #tell(type: string, data: Readonly<Record<string, unknown>>): void {
    this.events.tell(type, data);
    this.#all.tell(type, data);
  }

  #describe({ leaderId, termId, token, leadershipAcquiredAt, lastHeartbeat, metadata, expiresIn }: LeaderInfo) {
    const deadline = expiresIn === null ? null : new Date(this.#config.clock.wall() + expiresIn);
    const expiresInMs = expiresIn === null ? null : Math.round(expiresIn);
    return { leaderId, termId, token, since: leadershipAcquiredAt, lastHeartbeat, deadline, expiresInMs, metadata };
  }
}
