/**
 * Elections on Consul: `consul://host:8500/prefix`, or `consul+https:`. Importing this module registers both schemes.
 *
 * Each group is one key, `PREFIX/GROUP/.lock`, in the format of `consul lock`: that command, run as
 * `consul lock PREFIX/GROUP COMMAND`, and the participants of an election exclude each other.
 *
 * - **Token**: the index, in Consul's Raft log, of the write that acquired. It grows across release, expiry, deletion of the
 *   key and restarts.
 * - **Clock**: the monotonic clock of whoever waits. A heartbeat rewrites the record; one that stands still for
 *   `heartbeatTimeout`, and 0.1 % more, is taken over. So leases may be shorter than Consul's sessions, which last at
 *   least 10 s, and are taken over on time.
 * - **Not promised**: tokens that grow across a restored snapshot or a wiped data directory. And towards `consul lock`, which
 *   goes by sessions alone, that it waits for a lease whose session an operator destroys, or whose agent leaves the cluster.
 * - **A heartbeat** costs one write to the Raft log; those that are due together share one, up to 32. Beside it, one renewal
 *   of the session, which all elections of a provider share, every quarter of its time to live, and one answer to every
 *   provider that watches the group.
 * - **Round trips**: `acquire` one if this provider has seen the lease free, by a hint for example, else two; lost, one or
 *   two. The first one of a provider also creates its session. Waiting and losing write nothing.
 *
 * Up to 64 groups of a provider are watched at a time, each by a blocking query of its own: one query on the prefix would
 * bring every record with every heartbeat of every group. The 65th waits until one of them ends, and polls meanwhile.
 *
 * @module
 */

import { callBackend } from "../src/call.ts";
import { type Clock, systemClock } from "../src/clock.ts";
import type { ProviderOperation } from "../src/errors.ts";
import type {
  Acquired,
  AcquireRequest,
  CallOptions,
  Held,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  RenewOptions,
} from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { ConsulClient, type ConsulFetch, Gate, operationsOn } from "./consul/http.ts";
import { Keys, kvPath, parseConsulUrl } from "./consul/keys.ts";
import { leaseOf, type Look, Looks, tokenOf } from "./consul/looks.ts";
import { encodeRecord, type TermRecord } from "./consul/record.ts";
import { Sessions } from "./consul/sessions.ts";

export type { ConsulFetch } from "./consul/http.ts";

/** How to reach Consul. */
export interface ConsulOptions {
  /**
   * `consul://host:port/prefix?token=TOKEN&dc=NAME`, where port (8500, or 8501 with `consul+https:`), prefix (`multilock`) and
   * parameters may be left out, and the token may also be given as a password.
   *
   * @default "consul://127.0.0.1:8500"
   */
  readonly url?: string | URL;
  /** The ACL token. It needs `key:write` on the prefix and `session:write`. @default that of the URL */
  readonly token?: string;
  /** Makes the requests, for example with a client certificate. @default the runtime's `fetch` */
  readonly fetch?: ConsulFetch;
  /** Measures for how long a record stands still. @default the clock of the machine */
  readonly clock?: Clock;
}

/**
 * Opens a provider that keeps leases in Consul.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { consulProvider } from "@multilock/core/consul";
 *
 * await using provider = consulProvider({ url: "consul://127.0.0.1:8500/elections?dc=east" });
 * assert(provider.name === "consul");
 * ```
 *
 * @throws {TypeError} if the URL is malformed or has a parameter that is unknown
 */
export function consulProvider(options: ConsulOptions = {}): Provider {
  const { origin, prefix, token, dc } = parseConsulUrl(String(options.url ?? "consul://127.0.0.1:8500"));
  const client = new ConsulClient({ origin, dc, token: options.token ?? token, fetch: options.fetch ?? fetch });
  return new ConsulProvider(client, new Keys(prefix), options.clock ?? systemClock);
}

/** How often a call tries again when the record has changed under it. */
const ATTEMPTS = 10;
const MAX_WATCHES = 64;
/** How long a blocking query may hang, in milliseconds; Consul adds up to a sixteenth. After the grace, it is broken. */
const BLOCK_MS = 30_000;
const GRACE_MS = 5_000;
/** How long closing waits for Consul to forget the sessions, in milliseconds. */
const CLOSE_MS = 1_000;

class ConsulProvider implements Provider {
  readonly name = "consul";
  readonly capabilities: ProviderCapabilities = {
    watch: true,
    timeAuthority: "server",
    minTimeout: 500,
    maxTimeout: 12 * 3_600_000,
    durability: "Leases and tokens are in Consul's Raft log, on the disks of a majority of its servers.",
  };
  readonly #client: ConsulClient;
  readonly #sessions: Sessions;
  readonly #keys: Keys;
  readonly #clock: Clock;
  readonly #looks: Looks;
  readonly #watches = new Gate(MAX_WATCHES);

  constructor(client: ConsulClient, keys: Keys, clock: Clock) {
    this.#client = client;
    this.#sessions = new Sessions(client, clock);
    this.#keys = keys;
    this.#clock = clock;
    this.#looks = new Looks(clock);
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    return this.#call("acquire", request.electionGroup, signal, () => this.#acquire(request, signal));
  }

  async #acquire(request: AcquireRequest, signal: AbortSignal): Promise<Acquired | Held> {
    const { electionGroup, termId } = request;
    let look = this.#looks.get(electionGroup);
    // A transaction that fails is in the Raft log too. So only a lease that was seen given back is tried without a look.
    if (look === undefined || look.record !== null || look.session !== "") {
      look = await this.#look(electionGroup, signal);
    }
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const isOurs = this.#looks.isHeldBy(look, termId);
      // Whoever asks again has had no answer: what its term left behind, nobody leads by.
      const isFree = look.record?.termId === termId || this.#looks.isFree(look);
      if (!isOurs && !isFree) return { acquired: false, leader: this.#looks.describe(look) };
      const written = isOurs
        ? await this.#beat(electionGroup, look, request.metadata, signal)
        : await this.#take(request, look, signal);
      if (written?.record) return { acquired: true, lease: leaseOf(electionGroup, written, written.record) };
      const seen = look;
      look = await this.#look(electionGroup, signal);
      // Nothing has changed, and yet we could not take it: either our session is gone, and the next attempt makes another,
      // or Consul holds the key back for a while, because the session of a stranger who held it has expired.
      const isHeldBack = !isOurs && look.index === seen.index && !await this.#sessions.forgetGone(signal);
      if (isHeldBack) return { acquired: false, leader: null };
    }
    throw new Error("the record changes all the time");
  }

  renew(lease: Lease, { signal, metadata }: RenewOptions): Promise<"renewed" | "lost"> {
    const { electionGroup, termId } = lease;
    return this.#call("renew", electionGroup, signal, async () => {
      const outcome = await this.#change(lease, signal, async (look) => {
        if (this.#looks.isHeldBy(look, termId)) {
          return await this.#beat(electionGroup, look, metadata, signal) && "renewed";
        }
        // Unlocked, it cannot be locked again by a late heartbeat, which names an older index. It is not given back: that would
        // let others in before we have told our caller, who may still be within the term.
        if (!this.#looks.hasStoodStill(look)) return "lost";
        // Nobody leads by it, but a late heartbeat may be on its way. It must not revive what is called lost here.
        return await this.#giveBack(electionGroup, look, signal) && "lost";
      });
      return outcome ?? "lost";
    });
  }

  release(lease: Pick<Lease, "electionGroup" | "termId">, { signal }: CallOptions): Promise<"released" | "notHolder"> {
    const { electionGroup } = lease;
    return this.#call("release", electionGroup, signal, async () => {
      // Also if its session has ended or its time is over: a record that is not given back holds up the next term.
      const done = await this.#change(lease, signal, (look) => this.#giveBack(electionGroup, look, signal));
      return done === null ? "notHolder" : "released";
    });
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    return this.#call("read", electionGroup, signal, async () => {
      const look = await this.#look(electionGroup, signal);
      // Unlocked, nobody leads; but a record that was not given back may hold up the next term (see `Looks.isFree`).
      return look.session === "" || this.#looks.hasStoodStill(look) ? null : this.#looks.describe(look);
    });
  }

  /**
   * Blocks on the key, and so sees every heartbeat: that tells `acquire` for how long the record has stood still. Hints
   * when the lease is free or another term has it.
   */
  async *watch(electionGroup: string, { signal }: CallOptions): AsyncIterable<void> {
    let leave = () => {};
    try {
      leave = await this.#watches.enter(signal);
      for (let seen = "", index = 0; !signal.aborted;) {
        const query = () => this.#block(electionGroup, index, signal);
        const { look, next } = await this.#call("watch", electionGroup, signal, query);
        // An index that went back is that of another log: the query starts anew.
        index = next < index ? 0 : next;
        const state = look.session === "" ? `free since ${look.index}` : look.record?.termId ?? look.session;
        if (state === seen) continue;
        seen = state;
        yield;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      leave();
    }
  }

  groups({ signal }: CallOptions): Promise<string[]> {
    return this.#call("groups", this.#keys.prefix, signal, async () => {
      const path = kvPath(this.#keys.prefix);
      const { status, body } = await this.#client.request({ path, query: { keys: "" }, signal });
      const keys = status === 404 ? [] : JSON.parse(body) as string[];
      return keys.map((key) => this.#keys.groupOf(key)).filter((group) => group !== null);
    });
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    return this.#call("healthCheck", this.#keys.prefix, signal, async () => {
      const { body } = await this.#client.request({ path: "status/leader", signal });
      if (body.trim() === '""') throw new Error("Consul's servers have no leader");
      // The session is the one that elections will use. The write cannot succeed, since no key both is new and has an
      // index; but it needs the permission, a leader and a majority.
      const session = await this.#sessions.forLease(this.capabilities.minTimeout, signal);
      const name = this.#keys.of("health-check");
      const key = operationsOn(name);
      await this.#client.write([key.checkIndex(1), key.checkMissing(), key.lock(session, new Uint8Array())], signal);
      await this.#client.request({ path: kvPath(name), signal });
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#sessions.close(CLOSE_MS);
    this.#client.close();
  }

  /**
   * Begins a term, in one transaction, conditional on the index of a look that `isFree`:
   * 1. check that nothing was written since: neither another acquire, nor a heartbeat of the old holder that is late;
   * 2. unlock the key in the name of the old holder's session, if that still has it;
   * 3. lock it for our session, with the record. The index of this write is the token.
   *
   * A heartbeat that arrives later names an index that is gone, and fails. The condition is needed even when the key is
   * free, since to our own session it is never locked: two elections of this provider could both succeed.
   */
  async #take(request: AcquireRequest, look: Look, signal: AbortSignal): Promise<Look | null> {
    const { electionGroup, participantId, termId, heartbeatTimeout, metadata } = request;
    const acquiredAt = new Date(this.#clock.wall());
    const term = { participantId, termId, token: null, heartbeatTimeout, acquiredAt, renewedAt: acquiredAt };
    const record: TermRecord = { ...term, beat: 0, metadata };
    const value = encodeRecord(record);
    const session = await this.#sessions.forLease(heartbeatTimeout, signal);
    const key = operationsOn(this.#keys.of(electionGroup));
    const written = await this.#client.write([
      look.index === 0 ? key.checkMissing() : key.checkIndex(look.index),
      ...(look.session === "" ? [] : [key.unlock(look.session)]),
      key.lock(session, value),
    ], signal);
    return written === null ? null : this.#looks.remember(electionGroup, written, session, record);
  }

  /**
   * Writes the record again, for the session that has the key, conditional on the index of `look`. That is the index of
   * this term's last write, so if it still stands, nobody has taken over, released or deleted anything since, and the
   * session still has the key. If our last answer was lost, the index is newer than we know: whoever calls looks again,
   * finds its own `termId`, and comes back with the new one. An old heartbeat that is still under way then fails.
   */
  async #beat(
    electionGroup: string,
    look: Look,
    metadata: Readonly<Record<string, string>> | undefined,
    signal: AbortSignal,
  ): Promise<Look | null> {
    const { record, session } = look;
    if (record === null || !await this.#sessions.keep(session, record.heartbeatTimeout, signal)) return null;
    const next: TermRecord = {
      ...record,
      token: tokenOf(look),
      renewedAt: new Date(this.#clock.wall()),
      beat: record.beat + 1,
      metadata: metadata ?? record.metadata,
    };
    const key = operationsOn(this.#keys.of(electionGroup));
    const operations = [key.checkIndex(look.index), key.lock(session, encodeRecord(next))];
    const written = await this.#client.writeTogether(operations, signal);
    return written === null ? null : this.#looks.remember(electionGroup, written, session, next);
  }

  /**
   * Ends the term whose record `look` shows: on condition of its index, so that no late write of this term comes after. The
   * key stays, and with it the group; empty, it is free for everybody at once. Returns null if something was written since.
   */
  async #giveBack(electionGroup: string, { index, session }: Look, signal: AbortSignal): Promise<Look | null> {
    const key = operationsOn(this.#keys.of(electionGroup));
    const give = session === "" ? [key.clear(index)] : [key.checkIndex(index), key.unlock(session)];
    const written = await this.#client.write(give, signal);
    return written === null ? null : this.#looks.remember(electionGroup, written, "", null);
  }

  /** Does `step` on the record of a term as it was last seen, or as it is, until it succeeds. Null if it has none any more. */
  async #change<T>(
    { electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">,
    signal: AbortSignal,
    step: (look: Look) => Promise<T | null>,
  ): Promise<T | null> {
    let look = this.#looks.get(electionGroup);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (look?.record?.termId !== termId) look = await this.#look(electionGroup, signal);
      if (look.record?.termId !== termId) return null;
      const done = await step(look);
      if (done !== null) return done;
      look = undefined;
    }
    throw new Error("the record changes all the time");
  }

  /**
   * Looks at the key as it is now. Without `consistent`, a server that has just started may answer before it has read its log
   * to the end, and one that was deposed may not know it.
   */
  async #look(electionGroup: string, signal: AbortSignal): Promise<Look> {
    const path = kvPath(this.#keys.of(electionGroup));
    const answer = await this.#client.request({ path, query: { consistent: "" }, signal });
    return this.#looks.see(electionGroup, answer);
  }

  /** Looks when the key has changed since `index`, or after half a minute. Not behind the gate, where it would block others. */
  async #block(electionGroup: string, index: number, signal: AbortSignal): Promise<{ look: Look; next: number }> {
    const controller = new AbortController();
    const onAbort = () => controller.abort(signal.reason);
    const giveUp = () => controller.abort(new Error("Consul does not answer"));
    const cancel = this.#clock.setTimer(giveUp, BLOCK_MS * (1 + 1 / 16) + GRACE_MS);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      const query = { index: String(index), wait: `${BLOCK_MS}ms` };
      const path = kvPath(this.#keys.of(electionGroup));
      const answer = await this.#client.send({ path, query, signal: controller.signal });
      return { look: this.#looks.see(electionGroup, answer), next: Math.max(answer.index, 1) };
    } finally {
      cancel();
      signal.removeEventListener("abort", onAbort);
    }
  }

  #call<T>(operation: ProviderOperation, thing: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return callBackend(this.name, operation, thing, signal, work);
  }
}

registerProvider({
  name: "consul",
  protocols: ["consul:", "consul+https:"],
  open: (url, { clock }) => consulProvider({ url, ...(clock && { clock }) }),
});
