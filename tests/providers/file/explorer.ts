/**
 * Participants, an operator and time, whose steps on a real directory come in an order that is drawn: any call at any
 * moment, several at once, calls that are given up and whose last step is carried out much later, processes that die.
 */

import assert from "node:assert/strict";
import { FileProvider } from "../../../providers/file/provider.ts";
import type { Holder, Processes } from "../../../providers/kit/host_process.ts";
import type { AcquireRequest, Lease } from "../../../src/provider.ts";
import { VirtualClock } from "../../../testing/virtual_clock.ts";
import { GatedFiles } from "./gated_files.ts";

/** Lengths of leases, in milliseconds: they differ, because those of participants may. */
const LEASES = [1_000, 1_000, 250];
/** How long it takes from one look to the next that may take over, for each length, and less than that. */
const PAUSES = [1, 100, 249, 252, 500, 999, 1_002, 1_002];

/** A random whole number below a bound. */
export type Random = (below: number) => number;

/** A call that is under way. */
interface Call {
  readonly kind: "acquire" | "renew" | "release";
  readonly giveUp: AbortController;
}

/** One participant: what the core would remember of its term. */
class Participant {
  readonly pid: number;
  readonly files: GatedFiles;
  readonly provider: FileProvider;
  readonly calls = new Set<Call>();
  asking: AcquireRequest | null = null;
  lease: Lease | null = null;
  validUntil = 0;

  constructor(pid: number, directory: string, clock: VirtualClock, processes: Processes) {
    this.pid = pid;
    this.files = new GatedFiles().hold();
    const own = { ...processes, identify: () => Promise.resolve([holder(pid)] as const) };
    this.provider = new FileProvider(directory, clock, this.files.calls, { processes: own });
  }
}

function holder(pid: number): Holder {
  return { host: "here", pid, startTime: "1" };
}

/** One walk through one directory. */
export class Explorer {
  readonly #random: Random;
  readonly #directory: string;
  readonly #clock = new VirtualClock();
  readonly #dead = new Set<number>();
  readonly #processes: Processes = {
    identify: () => Promise.resolve(null),
    isDead: ({ pid }) => Promise.resolve(this.#dead.has(pid)),
  };
  readonly #participants: Participant[] = [];
  readonly #operator: Participant;
  /** Terms that somebody else has ended or is ending; they learn it with their next call. */
  readonly #evicted = new Set<string>();
  /** Terms that were ended by somebody else for certain, with the number under which they were. */
  readonly #over = new Map<string, bigint>();
  readonly #granted = new Map<bigint, string>();
  #pids = 1;
  #turnOf = 0;
  /** What happened, for the error. */
  readonly log: string[] = [];
  /** How often each thing came about. */
  readonly counts = { granted: 0, renewed: 0, lost: 0, evicted: 0, died: 0, givenUp: 0, again: 0 };

  /** Prepares a walk in a directory that does not exist yet. */
  constructor(directory: string, random: Random) {
    this.#random = random;
    this.#directory = directory;
    for (let i = 0; i < LEASES.length; i++) this.#participants.push(this.#join());
    this.#operator = this.#join();
  }

  /** Takes `turns` steps, lets everything end, and checks that the group is not blocked. */
  async walk(turns: number): Promise<void> {
    await this.#begin(this.#random(6));
    for (let turn = 0; turn < turns; turn++) {
      await this.#turn();
      this.#check();
    }
    await this.#end();
  }

  /** Brings about what orders that are drawn seldom come to: a group in which something critical is under way. */
  async #begin(situation: number): Promise<void> {
    const [first, second, third] = this.#participants;
    if (situation === 0 || !first || !second || !third) return;
    this.#acquire(first, 1_000);
    if (situation < 3) {
      // A claim that was linked by a call that was given up, and others have seen; it may have been released.
      await this.#advance(first, "link");
      await this.#look(second);
      if (situation === 2) {
        this.#evict();
        await this.#advance(this.#operator);
      }
      this.#clock.jump(1_002);
      this.#giveUp(first);
      await this.#advance(first);
      this.#acquire(first, 1_000);
    } else {
      // A renewal that is late, and others who have seen the lease run out; one of them may have claimed it, and may be
      // dead.
      await this.#advance(first);
      for (const who of [second, third]) await this.#look(who);
      this.#clock.jump(999);
      if (first.lease !== null) this.#renew(first, first.lease);
      await first.files.settle();
      this.#clock.jump(3);
      if (situation > 3) {
        this.#acquire(third, 250);
        await this.#advance(third, "link");
        if (this.#random(2) === 0) await this.#advance(first);
      }
      if (situation === 5) this.#die(2);
    }
    this.#acquire(second, 1_000);
    await second.files.settle();
    await this.#meet();
  }

  /** What is under way meets, and nothing else happens: each goes on for some steps, then another. */
  async #meet(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) {
      const busy = this.#participants.filter(({ files }) => files.waits > 0);
      const who = busy[this.#random(busy.length)];
      for (let steps = 1 + this.#random(this.#random(2) === 0 ? 3 : 16); steps > 0; steps--) {
        await who?.files.step(() => 0);
      }
      this.#check();
    }
  }

  async #look(who: Participant): Promise<void> {
    this.#acquire(who, 250);
    await this.#advance(who);
  }

  /** Takes steps of `who` until one with this name has been taken, or all. */
  async #advance(who: Participant, name?: string): Promise<void> {
    await who.files.settle();
    for (let taken = ""; taken !== name && who.files.waits > 0;) {
      taken = who.files.next ?? "";
      await who.files.step(() => 0);
    }
  }

  #join(): Participant {
    return new Participant(this.#pids++, this.#directory, this.#clock, this.#processes);
  }

  async #turn(): Promise<void> {
    const everybody = [...this.#participants, this.#operator];
    // Mostly the same one goes on: two participants that alternate at each step come to nothing.
    if (this.#random(8) === 0) this.#turnOf = this.#random(everybody.length);
    const i = this.#turnOf;
    const who = everybody[i] ?? this.#operator;
    const what = this.#random(1_000);
    if (what < 20) return this.#pause();
    if (what < 32) return this.#giveUp(who);
    if (what < 36 && who !== this.#operator) return this.#die(i);
    if (who.files.waits > 0 && what < 900) return await who.files.step(this.#random);
    if (who === this.#operator && this.#random(40) === 0) this.#evict();
    if (who !== this.#operator && who.calls.size < 2) this.#call(who, LEASES[i] ?? 0);
    await who.files.settle();
  }

  #pause(): void {
    const ms = PAUSES[this.#random(PAUSES.length)] ?? 1;
    this.log.push(`${ms} ms pass`);
    this.#clock.jump(ms);
  }

  #giveUp(who: Participant): void {
    for (const call of who.calls) {
      if (call.giveUp.signal.aborted) continue;
      this.log.push(`${who.pid} gives up ${call.kind}`);
      this.counts.givenUp++;
      call.giveUp.abort(new Error("given up"));
    }
  }

  /** It takes no step any more, save those that the kernel carries out already. Another process takes its place. */
  #die(i: number): void {
    const who = this.#participants[i];
    if (who === undefined || this.counts.died === 2) return;
    this.log.push(`${who.pid} dies`);
    this.counts.died++;
    who.files.die();
    this.#dead.add(who.pid);
    this.#participants[i] = this.#join();
  }

  /** What the core might do next. */
  #call(who: Participant, heartbeatTimeout: number): void {
    const leads = who.lease !== null && this.#now < who.validUntil;
    if (!leads && who.lease !== null) this.#stepDown(who, this.#random(2) === 0);
    else if (leads && this.#random(6) === 0) this.#stepDown(who, true);
    else if (leads && who.lease !== null) this.#renew(who, who.lease);
    else if (who.asking !== null && this.#random(8) === 0) this.#stepDown(who, this.#random(2) === 0);
    else this.#acquire(who, heartbeatTimeout);
  }

  #acquire(who: Participant, heartbeatTimeout: number): void {
    if (who.asking !== null) this.counts.again++;
    const request = who.asking ??= {
      electionGroup: "g",
      participantId: `p${who.pid}`,
      termId: crypto.randomUUID(),
      heartbeatTimeout,
      metadata: {},
    };
    const { termId } = request;
    const sentAt = this.#now;
    const before = [...this.#granted].filter(([, other]) => other !== termId).map(([token]) => token);
    const over = this.#over.get(termId);
    this.#under(who, "acquire", termId, async (signal) => {
      const answer = await who.provider.acquire(request, { signal });
      this.log.push(`${who.pid} is told ${answer.acquired ? `token ${answer.lease.token}` : "held"}`);
      if (!answer.acquired) {
        // The same term asks again only where it does not know.
        if (who.asking === request) who.asking = null;
        return;
      }
      const { token } = answer.lease;
      assert.notEqual(over, token, "a claim that was released before it was asked for again must not be granted");
      assert.ok(before.every((earlier) => earlier < token), `token ${token} must be larger than those before`);
      assert.equal(this.#granted.get(token) ?? termId, termId, `token ${token} was granted twice`);
      this.#granted.set(token, termId);
      if (who.asking?.termId !== termId && who.lease?.termId !== termId) return;
      this.counts.granted++;
      who.asking = null;
      // One that began anew has another number; of two answers that cross, the later term counts.
      if (who.lease === null || who.lease.token <= token) who.lease = answer.lease;
      who.validUntil = Math.max(who.validUntil, sentAt + heartbeatTimeout);
    });
  }

  #renew(who: Participant, lease: Lease): void {
    const sentAt = this.#now;
    const metadata = this.#random(4) === 0 ? { at: String(sentAt) } : undefined;
    this.#under(who, "renew", lease.termId, async (signal) => {
      const answer = await who.provider.renew(lease, { signal, ...(metadata && { metadata }) });
      this.log.push(`${who.pid} is told ${answer}`);
      if (who.lease !== lease) return;
      this.counts[answer]++;
      if (answer === "renewed") who.validUntil = Math.max(who.validUntil, sentAt + lease.heartbeatTimeout);
      else this.#stepDown(who, false);
    });
  }

  /** First it stops leading, then it releases. */
  #stepDown(who: Participant, release: boolean): void {
    const termId = who.lease?.termId ?? who.asking?.termId ?? "";
    who.lease = null;
    who.asking = null;
    who.validUntil = 0;
    this.log.push(`${who.pid} steps down`);
    // What it had sent for this term counts no more.
    for (const { giveUp } of who.calls) giveUp.abort(new Error("stepped down"));
    if (!release) return;
    this.#under(who, "release", termId, async (signal) => {
      await who.provider.release({ electionGroup: "g", termId }, { signal });
    });
  }

  /** As `elect evict` does it: it ends the term that `read` shows. */
  #evict(): void {
    const { provider, calls } = this.#operator;
    if (calls.size > 0) return;
    this.#under(this.#operator, "release", "read", async (signal) => {
      const leader = await provider.read("g", { signal });
      if (leader === null) return;
      this.#evicted.add(leader.termId);
      const answer = await provider.release({ electionGroup: "g", termId: leader.termId }, { signal });
      this.log.push(`${leader.leaderId}, token ${leader.token}, was evicted: ${answer}`);
      if (answer === "notHolder") return;
      this.counts.evicted++;
      this.#over.set(leader.termId, leader.token);
    });
  }

  #failure: unknown = null;

  #under(who: Participant, kind: Call["kind"], what: string, work: (signal: AbortSignal) => Promise<void>): void {
    const call = { kind, giveUp: new AbortController() };
    who.calls.add(call);
    this.log.push(`${who.pid} begins ${kind} ${what.slice(0, 8)}`);
    work(call.giveUp.signal).catch((error) => {
      if (!call.giveUp.signal.aborted) this.#failure ??= error;
    }).finally(() => who.calls.delete(call));
  }

  get #now(): number {
    return this.#clock.monotonic();
  }

  #check(): void {
    if (this.#failure !== null) throw this.#failure;
    const leaders = this.#participants.filter(({ lease, validUntil }) =>
      lease !== null && this.#now < validUntil && !this.#evicted.has(lease.termId)
    );
    const tokens = leaders.map(({ pid, lease }) => `${pid} with token ${lease?.token}`);
    assert.ok(leaders.length <= 1, `two lead: ${tokens.join(", ")}`);
  }

  /** Everything that is under way comes to its end, and the group must be free within two leases. */
  async #end(): Promise<void> {
    const everybody = [...this.#participants, this.#operator];
    for (const who of everybody) who.files.open();
    for (let i = 0; everybody.some(({ calls }) => calls.size > 0); i++) {
      assert.ok(i < 10_000, "a call does not end");
      for (const who of everybody) await who.files.settle();
      this.#check();
    }
    const late = this.#join();
    late.files.open();
    const asked = { electionGroup: "g", participantId: "late", termId: "late", heartbeatTimeout: 1_000, metadata: {} };
    const soon = { signal: AbortSignal.timeout(60_000) };
    for (let look = 0; !(await late.provider.acquire(asked, soon)).acquired; look++) {
      assert.ok(look < 3, "the group is blocked");
      this.#clock.jump(1_002);
    }
    for (const { lease, provider } of this.#participants) {
      if (lease !== null) assert.equal(await provider.renew(lease, soon), "lost");
    }
  }
}
