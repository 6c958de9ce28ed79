/**
 * Elections on etcd (3.4 or later): `etcd://HOST:2379,HOST:2379/PREFIX`, with `user:password@` in front, or
 * `etcd+https:` for TLS. Importing this module registers both schemes.
 *
 * Each term is one key, `PREFIX/GROUP/TERM`, laid out as by `etcdctl elect` and Go's `concurrency.Election`, so that
 * they take part in the same election: whose key was created first leads. Participants of ours do not queue: they
 * create a key where there is none.
 *
 * - **Token**: the revision of the cluster that created the key. It grows across release, expiry and restarts.
 * - **Clock**: that of the member that leads the cluster. Keys are bound to a lease of etcd, here called a session: one
 *   for all elections of a provider that have the same `heartbeatTimeout`, in whole seconds, rounded up. Since the
 *   session outlives the heartbeats of a term, the provider deletes the key of a term that was not renewed for
 *   `heartbeatTimeout`.
 * - **Not promised**: tokens that grow across a snapshot that is restored without `--bump-revision`. And before etcd
 *   3.4.31 and 3.5.13, that a live session is not revoked: a member that led the cluster, and was stuck for longer than
 *   a lease, may do that when it goes on.
 * - **A heartbeat** costs a keepalive and a read, sent at the same time. Neither is written to the Raft log. Those of a
 *   session that are due together share one keepalive, and a hundred share one read.
 * - **Round trips**: `acquire` takes one where nobody is known to lead, and beside it a keepalive at the same time; two
 *   if this provider last heard that somebody leads; lost, one. The first of a `heartbeatTimeout` creates its session.
 *   Waiting, and losing to a leader that is known, write nothing.
 *
 * @module
 */

import { abortable, callBackend, providerError } from "../src/call.ts";
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
  ReleaseCallOptions,
  RenewOptions,
} from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { CATALOG } from "./catalog.ts";
import { EtcdClient } from "./etcd/client.ts";
import { Elections } from "./etcd/elections.ts";
import { inspectCluster } from "./etcd/inspection.ts";
import { fromBase64, Keys } from "./etcd/keys.ts";
import { keysIn, never, put, type RangeAnswer } from "./etcd/requests.ts";
import { Sessions } from "./etcd/sessions.ts";
import { type EtcdTarget, parseTarget } from "./etcd/target.ts";
import { Terms } from "./etcd/terms.ts";
import { Watches } from "./etcd/watch.ts";
import { JoinedRenewals } from "./kit/joined_renewals.ts";
import { checkOptions } from "./kit/parameters.ts";

/** The settings to reach etcd. */
export interface EtcdOptions {
  /**
   * `etcd://[user:password@]host[:port][,host[:port]...][/prefix]`. The members are tried in random order. The port is
   * 2379 and the prefix `multilock` where they are left out. With `etcd+https:`, the settings `ca`, `cert` and `key`
   * name files in PEM, which are read for each new connection, and `servername` the name in the members' certificates.
   *
   * @default "etcd://127.0.0.1:2379"
   */
  readonly url?: string | URL | undefined;
  /** Measures for how long a term was not renewed. @default the clock of the machine */
  readonly clock?: Clock | undefined;
  /** Is told when the cluster keeps sessions longer than asked. @default nobody */
  readonly logger?: Logger | undefined;
}

/**
 * Opens a provider that keeps leases in etcd.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { etcdProvider } from "@multilock/core/etcd";
 *
 * await using provider = etcdProvider({ url: "etcd://etcd1:2379,etcd2:2379,etcd3:2379/elections" });
 * assert(provider.capabilities.timeAuthority === "server");
 * ```
 *
 * @throws {TypeError} if the URL is malformed, or if it or the options have a setting that is unknown
 */
export function etcdProvider(options: EtcdOptions = {}): Provider {
  checkOptions("etcd", options, ["url", "clock", "logger"]);
  return new EtcdProvider(options);
}

/** The longest time that closing waits for the cluster to end the sessions, in milliseconds. */
const CLOSE_MS = 1_000;

class EtcdProvider implements Provider {
  readonly name = "etcd";
  readonly capabilities: ProviderCapabilities = {
    watch: true,
    transfer: true,
    timeAuthority: "server",
    minTimeout: 2_000,
    maxTimeout: 12 * 3_600_000,
    durability: "Leases and tokens are in etcd's Raft log, on the disks of a majority of its members.",
  };
  readonly #target: EtcdTarget;
  readonly #client: EtcdClient;
  readonly #keys: Keys;
  readonly #elections: Elections;
  readonly #watches: Watches;
  readonly #renewals = new JoinedRenewals();
  /** The calls of `acquire` that are under way, by key. */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor({ url = "etcd://127.0.0.1:2379", clock = systemClock, logger }: EtcdOptions) {
    const target = this.#target = parseTarget(String(url));
    const [client, keys] = [new EtcdClient(target), new Keys(target.prefix)];
    const sessions = new Sessions({ client, clock, logger, fenceOf: (id) => keys.ofFence(id) });
    this.#client = client;
    this.#keys = keys;
    const onRefused = (electionGroup: string, error: unknown) => {
      tell(logger, "warn", "etcd refuses the metadata: the lease is renewed without", { electionGroup, error });
    };
    const onSeen = (revision: bigint) => this.#watches.expect(revision);
    const terms = new Terms(client, clock);
    this.#elections = new Elections({ client, keys, clock, sessions, terms, onRefused, onSeen });
    this.#watches = new Watches({ client, clock, keys, onEvent: (...event) => this.#elections.note(...event) });
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    const { electionGroup, termId } = request;
    return this.#call("acquire", electionGroup, signal, () => {
      return this.#inTurn(this.#keys.ofTerm(electionGroup, termId), signal, () => {
        return this.#elections.acquire(request, signal);
      });
    });
  }

  renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
    return this.#call("renew", lease.electionGroup, options.signal, () => {
      // Renewals that write metadata go one after the other, so that the last of them stays.
      if (options.metadata === undefined) return this.#elections.renew(lease, options);
      return this.#renewals.run(lease.termId, options, (together) => this.#elections.renew(lease, together));
    });
  }

  release(
    { electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">,
    { signal, transferTo }: ReleaseCallOptions,
  ): Promise<"released" | "notHolder"> {
    return this.#call("release", electionGroup, signal, async () => {
      return await this.#elections.release(electionGroup, termId, transferTo, signal) ? "released" : "notHolder";
    });
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    return this.#call("read", electionGroup, signal, () => this.#elections.leader(electionGroup, signal));
  }

  async *watch(electionGroup: string, { signal }: CallOptions): AsyncIterable<Hint> {
    try {
      yield* this.#watches.watch(electionGroup, signal);
    } catch (error) {
      throw providerError(this.name, "watch", electionGroup, error);
    }
  }

  groups({ signal }: CallOptions): Promise<string[]> {
    const { prefix, all } = this.#keys;
    return this.#call("groups", prefix, signal, async () => {
      const { kvs = [] } = await this.#client.request<RangeAnswer>("kv/range", keysIn(all), signal);
      const groups = kvs.map((kv) => this.#keys.parse(fromBase64(kv.key))?.electionGroup);
      return [...new Set(groups)].filter((group) => group !== undefined);
    });
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    return this.#call("healthCheck", this.#keys.prefix, signal, async () => {
      // It cannot succeed, and so writes nothing. But it takes the permission to write, a leader, a majority, and room.
      const key = `${this.#keys.prefix}/health-check`;
      await this.#client.request("kv/txn", { compare: [never(key)], success: [put(key, "")] }, signal);
    });
  }

  inspect({ signal }: CallOptions): Promise<Inspection> {
    return this.#call("healthCheck", this.#keys.prefix, signal, () => {
      return inspectCluster(this.#client, this.#target, this.#keys, signal);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#watches.close();
    await this.#elections.close(AbortSignal.timeout(CLOSE_MS));
    this.#client.close();
  }

  /** Calls of one term share its key, so they are made one after the other: the next finds what the last has left. */
  async #inTurn<T>(key: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(key) ?? Promise.resolve();
    const done = abortable(before, signal).then(work);
    const settled = Promise.allSettled([before, done]);
    this.#turns.set(key, settled);
    try {
      return await done;
    } finally {
      void settled.then(() => this.#turns.get(key) === settled && this.#turns.delete(key));
    }
  }

  #call<T>(operation: ProviderOperation, thing: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return callBackend(this.name, operation, thing, signal, work);
  }
}

registerProvider({
  ...CATALOG.etcd,
  open: (url, { clock, logger }) => etcdProvider({ url, clock, logger }),
});
