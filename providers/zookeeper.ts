/**
 * Elections over Apache ZooKeeper (3.5.3 or later): `zookeeper://HOST:2181,HOST:2181/ROOT`, with `user:password@` in
 * front for `digest` authentication, or `zookeeper+tls:` for TLS. Nodes are laid out as by Curator's `LeaderLatch`, so
 * that Curator participants can take part.
 *
 * - **Token**: the transaction id (czxid) that created the leader's node. It grows with every transaction of the
 *   ensemble, and nodes are created in the order in which they come to lead.
 * - **Clock**: the ensemble's. A lease is an ephemeral node, and others lead only after it was deleted. It is deleted
 *   when the ensemble has not heard from the session for the session timeout, which is a tenth more than
 *   `heartbeatTimeout`: one session for each `heartbeatTimeout` in use. A server that grants less refuses the lease,
 *   one that grants more (`minSessionTimeout`, by default two ticks of 2 s) is slower to notice a crash. Since a
 *   session outlives the heartbeats of a term, the provider deletes the node of a term that was not renewed for
 *   `heartbeatTimeout`.
 * - **Hint**: those who wait queue up, first come, first served, while `watch` is open for them; each watches the
 *   leader's node, and learns of each new leader.
 * - **Metadata** cost no lease: what a server might not take goes over a connection of its own, and is left out if need
 *   be.
 * - **A heartbeat** costs one transaction without data, a `check` of the own node, for some sixty leases that are
 *   renewed in the same turn of the event loop. Why not less: a server answers pings and reads for up to `syncLimit`
 *   ticks after it was cut off from the others, while these let the session expire; even `sync` is answered by a
 *   deposed leader that does not know it yet. A transaction needs a quorum, so when it is answered, the session lived
 *   after the heartbeat was sent.
 * - **Round trips**: `acquire` takes one when the group is free, and a second to write metadata where there are any;
 *   two when it is held, or was when this provider last heard of it. Once it is known to be held, `acquire` only reads.
 *   `read` takes two, `release` one, and three where the term is another client's.
 * - **Not promised**: that the ensemble's leader knows all that its followers do. A follower passes on whom it heard
 *   from every half tick, so a session may expire that much earlier than its own server would say. The extra tenth of
 *   the session, beside `safetyMargin`, is there to cover this: keep `heartbeatTimeout` at five ticks or more. A
 *   follower that is slower than that without being cut off, and an ensemble restored from a backup, are what the token
 *   is for.
 *
 * A Curator participant cannot be evicted: it would not notice.
 *
 * @module
 */

import { abortable, callBackend, providerError } from "../src/call.ts";
import { type Clock, systemClock } from "../src/time/clock.ts";
import type { ProviderOperation } from "../src/errors.ts";
import type { Logger } from "../src/logger.ts";
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
  WatchOptions,
} from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { CATALOG } from "./catalog.ts";
import { checkOptions } from "./kit/parameters.ts";
import { inspectEnsemble } from "./zookeeper/inspection.ts";
import { decodeGroup, nameOf, predecessorOf } from "./zookeeper/latch.ts";
import { LatchQueue } from "./zookeeper/latch_queue.ts";
import { type LatchNode, latchNode } from "./zookeeper/latch_node.ts";
import type { LatchSession } from "./zookeeper/latch_session.ts";
import { isRefusal } from "./zookeeper/grants.ts";
import { checkMetadata } from "./zookeeper/records.ts";
import { ErrorCode, getChildren, isError } from "./zookeeper/protocol.ts";
import { checkSessionTimeout, checkTimeout, longestLeaseIn, MIN_LEASE_MS, Sessions } from "./zookeeper/sessions.ts";
import { parseTarget, type ZooKeeperTarget } from "./zookeeper/target.ts";

/** The settings of the provider. */
export interface ZooKeeperOptions {
  /**
   * `zookeeper://[user:password@]host[:port][,host[:port]...][/root][?sessionTimeout=20s]`. The servers are tried in
   * random order. The port is 2181 and the root `/multilock` where they are left out; the root is created. With
   * credentials, nodes are created for their owner alone. With `zookeeper+tls:` the port is 2281, and the settings
   * `ca`, `cert`, `key` (files in PEM) and `servername` say whom to trust and who we are.
   */
  readonly url: string;
  /**
   * One session timeout, in milliseconds, for all leases; each must fit in with a tenth to spare. It is also a setting
   * of the URL. @default a session for each `heartbeatTimeout`, a tenth longer
   */
  readonly sessionTimeout?: number | undefined;
  /** Measures pings and leases. @default the clock of the machine */
  readonly clock?: Clock | undefined;
  /** Is told when the ensemble keeps sessions longer than asked. @default nobody */
  readonly logger?: Logger | undefined;
}

/**
 * Opens a provider that keeps leases in ZooKeeper.
 *
 * @throws {TypeError} if the URL is malformed, or a setting or an option does not exist
 * @throws {RangeError} if a number is out of range
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { zookeeperProvider } from "@multilock/core/zookeeper";
 *
 * await using provider = zookeeperProvider({ url: "zookeeper://zk1:2181,zk2:2181,zk3:2181/elections" });
 * assert(provider.capabilities.timeAuthority === "server");
 * ```
 */
export function zookeeperProvider(options: ZooKeeperOptions): Provider {
  checkOptions("zookeeper", options, ["url", "sessionTimeout", "clock", "logger"]);
  const target = parseTarget(options.url);
  const sessionTimeout = options.sessionTimeout ?? target.sessionTimeout;
  if (sessionTimeout !== undefined) checkSessionTimeout(sessionTimeout);
  return new ZooKeeperProvider(target, sessionTimeout, options.clock ?? systemClock, options.logger);
}

const MAX_REMEMBERED = 100_000;

class ZooKeeperProvider implements Provider {
  readonly name = "zookeeper";
  readonly capabilities: ProviderCapabilities;
  readonly #target: ZooKeeperTarget;
  readonly #root: string;
  readonly #sessions: Sessions;
  readonly #queue: LatchQueue;
  /** The groups that were held when they were last heard of. */
  readonly #held = new Set<string>();
  /** The calls of `acquire` that are under way, by term. */
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor(target: ZooKeeperTarget, sessionTimeout: number | undefined, clock: Clock, logger: Logger | undefined) {
    this.capabilities = {
      watch: true,
      timeAuthority: "server",
      minTimeout: MIN_LEASE_MS,
      ...(sessionTimeout !== undefined && { maxTimeout: longestLeaseIn(sessionTimeout) }),
      durability: "Leases and tokens survive as long as a majority of the servers keeps its disks.",
    };
    this.#target = target;
    this.#root = target.root;
    this.#queue = new LatchQueue(clock);
    const onEnded = (session: LatchSession) => this.#queue.forget(session);
    this.#sessions = new Sessions({ target, sessionTimeout, clock, logger, onEnded });
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    return this.#call("acquire", request.electionGroup, signal, () => {
      checkMetadata(request.metadata);
      return this.#inTurn(`${request.electionGroup}/${request.termId}`, signal, () => this.#acquire(request, signal));
    });
  }

  renew(lease: Lease, { signal, metadata }: RenewOptions): Promise<"renewed" | "lost"> {
    return this.#call("renew", lease.electionGroup, signal, async () => {
      checkMetadata(metadata);
      const held = this.#sessions.holding(lease.electionGroup, lease.termId);
      if (held === null) return "lost";
      const { session, node } = held;
      // The term has asked again, and nobody knows yet whether its new node leads: that it exists says nothing.
      if (!node.first) throw new Error("an acquire of the same term has no answer yet");
      session.terms.hold(node, lease.termId, lease.heartbeatTimeout);
      if (!session.client.isConnected) await session.client.connected();
      checkTimeout(session, lease.heartbeatTimeout);
      const renewed = metadata === undefined
        ? await session.renew(node, signal)
        : await session.grants.record(node, lease.termId, metadata, signal);
      if (!renewed) session.terms.letGo(node, lease.termId);
      return renewed ? "renewed" : "lost";
    });
  }

  release(
    lease: Pick<Lease, "electionGroup" | "termId">,
    { signal }: CallOptions,
  ): Promise<"released" | "notHolder"> {
    return this.#call("release", lease.electionGroup, signal, async () => {
      const held = this.#sessions.holding(lease.electionGroup, lease.termId);
      if (held === null) {
        const session = await this.#sessions.connected();
        return await session.evict(lease.electionGroup, lease.termId, signal) ? "released" : "notHolder";
      }
      const { session, node } = held;
      session.terms.letGo(node, lease.termId);
      this.#held.delete(lease.electionGroup);
      try {
        await session.client.connected();
        return await session.erase(node, signal) ? "released" : "notHolder";
      } catch (error) {
        // It goes as soon as there is a connection: the path is that of this term and of no other.
        void session.doom(node);
        throw error;
      }
    });
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    return this.#call("read", electionGroup, signal, async () => {
      const session = await this.#sessions.connected();
      return await session.leader(electionGroup, await session.list(electionGroup, signal, true), signal);
    });
  }

  async *watch(electionGroup: string, { signal, participantId }: WatchOptions): AsyncIterable<Hint> {
    try {
      yield* this.#queue.watch(electionGroup, participantId, () => this.#sessions.any(), signal);
    } catch (error) {
      throw providerError(this.name, "watch", electionGroup, error);
    }
  }

  groups({ signal }: CallOptions): Promise<string[]> {
    return this.#call("groups", this.#root, signal, async () => {
      const session = await this.#sessions.connected();
      try {
        const names = await session.client.call(getChildren(this.#root), signal);
        return names.map(decodeGroup).filter((group) => group !== null);
      } catch (error) {
        if (isError(error, ErrorCode.noNode)) return [];
        throw error;
      }
    });
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    return this.#call("healthCheck", this.#root, signal, async () => {
      await (await this.#sessions.connected()).probe(signal);
    });
  }

  inspect({ signal }: CallOptions): Promise<Inspection> {
    return this.#call("healthCheck", this.#root, signal, async () => {
      const { client } = await this.#sessions.connected();
      return await inspectEnsemble(client, this.#target, signal);
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#sessions.close();
  }

  /**
   * Why this is safe: a node is the first of its group once all that were created before it are gone, and from then on
   * until it is deleted itself. So whoever is granted the lease has a node that was first at a moment after the call
   * was sent: its own creation was answered by a quorum then, or a transaction that checked it. Nobody else's can be
   * first before it is deleted: by its owner, after the term's deadline; or with its session, which by then was silent
   * for longer than that.
   */
  async #acquire(request: AcquireRequest, signal: AbortSignal): Promise<Acquired | Held> {
    const { electionGroup, participantId, termId, heartbeatTimeout, metadata } = request;
    const session = this.#sessions.for(heartbeatTimeout);
    await session.client.connected();
    signal.throwIfAborted();
    checkTimeout(session, heartbeatTimeout);
    // A known term: its outcome was lost on the way. A place: granted to no term before, and to no other from now on.
    const node = session.terms.node(electionGroup, termId) ??
      await this.#queue.claim(electionGroup, participantId, session, signal) ??
      latchNode(electionGroup, participantId, "term", termId);
    session.terms.hold(node, termId, heartbeatTimeout);
    if (node.created === null && node.asked) await session.locate(node, signal);
    const isNew = node.created === null;
    if (!node.first) {
      const held = node.kind === "place"
        ? await this.#heldBeforePlace(node, session, termId, signal)
        : await this.#heldBeforeTerm(node, session, termId, signal);
      if (held !== null) return held;
    }
    let isThere: boolean;
    try {
      isThere = await session.grants.give(node, termId, metadata, isNew, signal);
    } catch (error) {
      // It will not grant this one, then: to keep the node would keep all others out.
      if (isRefusal(error)) {
        session.terms.letGo(node, termId);
        void session.doom(node);
      }
      throw error;
    }
    if (!isThere || node.created === null) {
      // Somebody has deleted it: what it was granted to is over. A node made anew cannot be gone in the same way.
      session.terms.letGo(node, termId);
      return await this.#acquire(request, signal);
    }
    this.#queue.won(node);
    this.#remember(electionGroup);
    const { czxid: token, ctime } = node.created.stat;
    const acquiredAt = new Date(node.grantedAt ?? ctime);
    return { acquired: true, lease: { electionGroup, participantId, termId, token, acquiredAt, heartbeatTimeout } };
  }

  /** Refuses the lease to a place that has somebody before it. Null, and it is first, when nobody is left. */
  async #heldBeforePlace(
    node: LatchNode,
    session: LatchSession,
    termId: string,
    signal: AbortSignal,
  ): Promise<Held | null> {
    const head = await session.head(node, signal);
    node.first = head === null;
    // One that is gone is refused too: nothing is granted to it, and the queue finds out.
    return node.first ? null : await this.#refuse(node, session, termId, head?.leader ?? null);
  }

  /** Makes the node of a term where nobody seems to lead, and refuses the lease if it is not first. Null if it is. */
  async #heldBeforeTerm(
    node: LatchNode,
    session: LatchSession,
    termId: string,
    signal: AbortSignal,
  ): Promise<Held | null> {
    const { group } = node;
    const isNew = node.created === null;
    let children = isNew && !this.#held.has(group) ? [] : await session.list(group, signal);
    if (isNew && children.length === 0) children = await session.create(node, signal);
    // Ends: each further round was brought about by the end of a node that stood before this one.
    for (;;) {
      const before = node.created === null ? undefined : predecessorOf(children, nameOf(node.created.path));
      node.first = before === null;
      if (before === null) return null;
      const [leader, neverLed] = await Promise.all([
        session.leader(group, children, signal),
        before === undefined || session.withdraw(node, before, signal),
      ]);
      // Somebody could have seen it lead, once the one before has ended: then its term is not refused.
      if (neverLed) return await this.#refuse(node, session, termId, leader);
      children = await session.list(group, signal);
    }
  }

  async #refuse(node: LatchNode, session: LatchSession, termId: string, leader: LeaderInfo | null): Promise<Held> {
    session.terms.letGo(node, termId);
    this.#remember(node.group);
    await this.#queue.lost(node, session);
    // An earlier node of the same term, which was not renewed in time, is about to be deleted: it refuses in nobody's
    // name.
    return { acquired: false, leader: leader?.termId === termId ? null : leader };
  }

  /** Calls of one term share its node, so they are made one after the other: the next finds what the last has left. */
  async #inTurn<T>(term: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const before = this.#turns.get(term) ?? Promise.resolve();
    const done = abortable(before, signal).then(work);
    const settled = Promise.allSettled([before, done]);
    this.#turns.set(term, settled);
    try {
      return await done;
    } finally {
      void settled.then(() => this.#turns.get(term) === settled && this.#turns.delete(term));
    }
  }

  /**
   * Takes note that `electionGroup` is held, so that who asks next looks before it makes a node, most likely in vain.
   */
  #remember(electionGroup: string): void {
    if (this.#held.size >= MAX_REMEMBERED) this.#held.clear();
    this.#held.add(electionGroup);
  }

  #call<T>(operation: ProviderOperation, thing: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return callBackend(this.name, operation, thing, signal, work);
  }
}

registerProvider({
  ...CATALOG.zookeeper,
  open: (url, { clock, logger }) => zookeeperProvider({ url, clock, logger }),
});
