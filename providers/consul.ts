/**
 * Elections on Consul: `consul://host:8500/prefix`, or `consul+https:`. Importing this module registers both schemes.
 *
 * Each group is one key, `PREFIX/GROUP/.lock`, in the format of `consul lock`: that command, run as
 * `consul lock PREFIX/GROUP COMMAND`, and the participants of an election exclude each other.
 *
 * - **Token**: the index, in Consul's Raft log, of the write that acquired. It grows across release, expiry, deletion
 *   of the key and restarts.
 * - **Clock**: the monotonic clock of whoever waits. A heartbeat rewrites the record; one that stands still for
 *   `heartbeatTimeout`, and 0.1 % more, is taken over. So leases may be shorter than Consul's sessions, which last at
 *   least 10 s, and are taken over on time.
 * - **Not promised**: tokens that grow across a restored snapshot or a wiped data directory. And towards `consul lock`,
 *   which goes by sessions alone, that it waits for a lease whose session an operator destroys, or whose agent leaves
 *   the cluster.
 * - **A heartbeat** costs one write to the Raft log; those that are due together share one, up to 32. Beside it, one
 *   renewal of the session, which all elections of a provider share, every quarter of its time to live, and one answer
 *   to every provider that watches the group.
 * - **Round trips**: `acquire` one if this provider has seen the lease free, by a hint for example, else two; lost, one
 *   or two. The first one of a provider also creates its session. Waiting and losing write nothing.
 *
 * Up to 64 groups of a provider are watched at a time, each by one blocking query for all who wait for it: one query on
 * the prefix would bring every record with every heartbeat of every group. The 65th waits until one of them ends, and
 * polls meanwhile.
 *
 * @module
 */

import { callBackend } from "../src/call.ts";
import { type Clock, systemClock } from "../src/time/clock.ts";
import type { ProviderOperation } from "../src/errors.ts";
import { type Logger, tell } from "../src/logger.ts";
import type {
  Acquired,
  AcquireRequest,
  CallOptions,
  Held,
  Hint,
  Inspection,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  RenewOptions,
} from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { CATALOG } from "./catalog.ts";
import { inspectCluster } from "./consul/inspection.ts";
import { ATTEMPTS, type ConsulParts, GroupKey } from "./consul/group_key.ts";
import { ConsulClient, jsonOf } from "./consul/http.ts";
import { Keys, kvPath, parseConsulUrl } from "./consul/keys.ts";
import { leaseOf, Looks } from "./consul/looks.ts";
import { operationsOn } from "./consul/operations.ts";
import { Pace } from "./consul/pace.ts";
import { Sessions } from "./consul/sessions.ts";
import { type ConsulFetch, openTransport } from "./consul/transport.ts";
import { Watches } from "./consul/watch.ts";
import { Gate } from "./kit/gate.ts";
import { TELL_RENEWALS_BELOW_MS } from "./kit/hint_stream.ts";
import { JoinedRenewals } from "./kit/joined_renewals.ts";
import { checkOptions } from "./kit/parameters.ts";

export type { ConsulFetch } from "./consul/transport.ts";

/** The settings to reach Consul. */
export interface ConsulOptions {
  /**
   * `consul://host:port/prefix?token=TOKEN&dc=NAME`, where port (8500, or 8501 with `consul+https:`), prefix
   * (`multilock`) and settings may be left out, and the token may also be given as a password. With `consul+https:`,
   * `ca`, `cert` and `key` name files in PEM, which are read for each new connection, and `servername` the name in the
   * server's certificate.
   *
   * @default "consul://127.0.0.1:8500"
   */
  readonly url?: string | URL | undefined;
  /** The ACL token. It needs `key:write` on the prefix and `session:write`. @default that of the URL */
  readonly token?: string | undefined;
  /** Makes the requests, each once, without retrying. @default connections of the provider's own, by `node:http` */
  readonly fetch?: ConsulFetch | undefined;
  /** Measures for how long a record stands still. @default the clock of the machine */
  readonly clock?: Clock | undefined;
  /** Is told of metadata that Consul refuses. @default nobody */
  readonly logger?: Logger | undefined;
}

const OPTIONS: readonly (keyof ConsulOptions)[] = ["url", "token", "fetch", "clock", "logger"];

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
 * @throws {TypeError} if the URL is malformed, or if it or the options have a setting that is unknown
 */
export function consulProvider(options: ConsulOptions = {}): Provider {
  checkOptions("consul", options, OPTIONS);
  const { fetch, clock = systemClock, logger } = options;
  const { origin, prefix, token, dc, tls } = parseConsulUrl(String(options.url ?? "consul://127.0.0.1:8500"));
  if (fetch !== undefined && tls !== null && Object.keys(tls).length > 0) {
    throw new TypeError("Cannot open consul: certificates in its url are for connections of its own, not for a fetch");
  }
  const transport = fetch === undefined ? openTransport(tls) : { fetch, close() {} };
  const client = new ConsulClient({ origin, dc, token: options.token ?? token, transport });
  const onTooLarge = (electionGroup: string, error: Error) => {
    tell(logger, "warn", "Consul refuses the metadata: the lease is renewed without", { electionGroup, error });
  };
  return new ConsulProvider({
    ...{ client, clock, keys: new Keys(prefix), sessions: new Sessions(client, clock), looks: new Looks(clock) },
    onTooLarge,
  });
}

const MAX_WATCHES = 64;
/** The longest time that closing waits for Consul to forget the sessions, in milliseconds. */
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
  readonly #parts: ConsulParts;
  readonly #queries = new Gate(MAX_WATCHES);
  readonly #watches = new Watches((electionGroup, signal) => this.#follow(electionGroup, signal));

  readonly #renewals = new JoinedRenewals();

  constructor(parts: ConsulParts) {
    this.#parts = parts;
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    const { electionGroup, termId } = request;
    const { looks, sessions } = this.#parts;
    return this.#callGroup("acquire", electionGroup, signal, async (key) => {
      let look = key.known;
      // A transaction that fails is in the Raft log too. So only a lease that was seen given back is tried without a
      // look.
      if (look === undefined || look.record !== null || look.session !== "") look = await key.look();
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const isOurs = looks.isHeldBy(look, termId);
        // A term that asks again has had no answer: nobody leads by what it left behind.
        const isFree = look.record?.termId === termId || looks.isFree(look);
        if (!isOurs && !isFree) return { acquired: false, leader: looks.describe(look) };
        const written = isOurs ? await key.beat(look, request.metadata) : await key.take(request, look);
        if (written?.record) return { acquired: true, lease: leaseOf(electionGroup, written, written.record) };
        const seen = look;
        look = await key.look();
        // Nothing has changed, and yet we could not take it: either our session is gone, and the next attempt makes
        // another, or Consul holds the key back for a while, because the session of a stranger who held it has expired.
        const isHeldBack = !isOurs && look.index === seen.index && !await sessions.forgetGone(signal);
        if (isHeldBack) return { acquired: false, leader: null };
      }
      throw new Error("the record changes all the time");
    });
  }

  renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
    return this.#renewals.run(lease.termId, options, (together) => this.#renewOnce(lease, together));
  }

  #renewOnce({ electionGroup, termId }: Lease, { signal, metadata }: RenewOptions): Promise<"renewed" | "lost"> {
    const { looks } = this.#parts;
    return this.#callGroup("renew", electionGroup, signal, async (key) => {
      const outcome = await key.change(termId, async (look) => {
        if (looks.isHeldBy(look, termId)) return await key.beat(look, metadata) && "renewed";
        // Unlocked, it cannot be locked again by a late heartbeat, which names an older index. It is not given back:
        // that would let others in before we have told our caller, who may still be within the term.
        if (!looks.hasStoodStill(look)) return "lost";
        // Nobody leads by it, but a late heartbeat may be on its way. It must not revive what is called lost here.
        return await key.empty(look) && "lost";
      });
      return outcome ?? "lost";
    });
  }

  release(
    { electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">,
    { signal }: CallOptions,
  ): Promise<"released" | "notHolder"> {
    return this.#callGroup("release", electionGroup, signal, async (key) => {
      // Also if its session has ended or its time is over: a record that is not given back holds up the next term.
      return await key.change(termId, (look) => key.empty(look)) === null ? "notHolder" : "released";
    });
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    const { looks } = this.#parts;
    return this.#callGroup("read", electionGroup, signal, async (key) => {
      const look = await key.look();
      // Unlocked, nobody leads; but a record that was not given back may hold up the next term (see `Looks.isFree`).
      return look.session === "" || looks.hasStoodStill(look) ? null : looks.describe(look);
    });
  }

  watch(electionGroup: string, { signal }: CallOptions): AsyncIterable<Hint> {
    return this.#watches.watch(electionGroup, signal);
  }

  /**
   * Blocks on the key, and so sees every heartbeat: that tells `acquire` for how long the record has stood still. Hints
   * when the lease is free or another term has it, and where it is short, when it was renewed.
   */
  async *#follow(electionGroup: string, signal: AbortSignal): AsyncIterable<Hint> {
    let leave = () => {};
    try {
      leave = await this.#queries.enter(signal);
      const pace = new Pace(this.#parts.clock);
      for (let seen = ""; !signal.aborted;) {
        await pace.turn(signal);
        const after = (key: GroupKey) => key.lookAfter(pace.index);
        const { look, next, isLate } = await this.#callGroup("watch", electionGroup, signal, after);
        pace.note(next, isLate);
        const { session, record } = look;
        const state = session === "" ? `free since ${look.index}` : record?.termId ?? session;
        const leader = session === "" || record === null ? null : this.#parts.looks.describe(look);
        const isShort = record !== null && record.heartbeatTimeout < TELL_RENEWALS_BELOW_MS;
        if (state !== seen) yield leader ? { leader } : {};
        else if (leader && isShort) yield { renewed: leader };
        seen = state;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      leave();
    }
  }

  groups({ signal }: CallOptions): Promise<string[]> {
    const { client, keys } = this.#parts;
    const { prefix } = keys;
    return this.#call("groups", prefix, signal, async () => {
      const { status, body } = await client.request({ path: kvPath(prefix), query: { keys: "" }, signal });
      const found = status === 404 ? [] : jsonOf<string[]>(body);
      return found.map((key) => keys.groupOf(key)).filter((group) => group !== null);
    });
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    const { client, keys, sessions } = this.#parts;
    return this.#call("healthCheck", keys.prefix, signal, async () => {
      const { body } = await client.request({ path: "status/leader", signal });
      if (body.trim() === '""') throw new Error("Consul's servers have no leader");
      // The session is the one that elections will use. The write cannot succeed, since no key both is new and has an
      // index; but it needs the permission, a leader and a majority.
      const session = await sessions.forLease(this.capabilities.minTimeout, signal);
      const name = keys.of("health-check");
      const key = operationsOn(name);
      await client.write([key.checkIndex(1), key.checkMissing(), key.lock(session, new Uint8Array())], signal);
      await client.request({ path: kvPath(name), signal });
    });
  }

  inspect({ signal }: CallOptions): Promise<Inspection> {
    const { client, keys } = this.#parts;
    return this.#call("healthCheck", keys.prefix, signal, () => inspectCluster(client, signal));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#parts.sessions.close(CLOSE_MS);
    this.#parts.client.close();
  }

  #callGroup<T>(
    operation: ProviderOperation,
    electionGroup: string,
    signal: AbortSignal,
    work: (key: GroupKey) => Promise<T>,
  ): Promise<T> {
    return this.#call(operation, electionGroup, signal, () => work(new GroupKey(electionGroup, this.#parts, signal)));
  }

  #call<T>(operation: ProviderOperation, thing: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return callBackend(this.name, operation, thing, signal, work);
  }
}

registerProvider({
  ...CATALOG.consul,
  open: (url, { clock, logger }) => consulProvider({ url, clock, logger }),
});
