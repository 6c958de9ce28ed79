/**
 * One ZooKeeper session and the nodes of ours that live in it: made, renewed, granted, and got rid of for sure.
 *
 * @module
 */

import type { Clock } from "../../src/clock.ts";
import type { LeaderInfo } from "../../src/provider.ts";
import { ZooKeeperClient } from "./client.ts";
import type { Server } from "./connection.ts";
import { HeldTerms } from "./held_terms.ts";
import {
  describeLeader,
  encodeGroup,
  encodeRecord,
  hasSequence,
  inOrder,
  latchPrefix,
  nameOf,
  parseName,
} from "./latch.ts";
import type { LatchNode } from "./latch_node.ts";
import {
  check,
  create,
  CREATOR_ALL_ACL,
  ErrorCode,
  exists,
  getChildren,
  getData,
  isError,
  multi,
  NodeKind,
  OPEN_ACL,
  remove,
  setData,
  type Stat,
  sync,
} from "./protocol.ts";
import { Renewals } from "./renewals.ts";

/** How to open a session. */
export interface LatchSessionOptions {
  readonly servers: readonly Server[];
  readonly root: string;
  readonly credentials?: string | undefined;
  readonly sessionTimeout: number;
  readonly clock: Clock;
  /** Called once when the session has ended. */
  readonly onEnded: (session: LatchSession) => void;
  /** Called when the server keeps the session longer than asked. */
  readonly onSlower: (grantedTimeout: number) => void;
}

const NOTHING = new Uint8Array(0);
/** For what nobody waits for: it ends with the connection at the latest. */
const NEVER = new AbortController().signal;

/** One session. */
export class LatchSession {
  /** The connection. */
  readonly client: ZooKeeperClient;
  /** The terms that have nodes in it. */
  readonly terms: HeldTerms;
  readonly #options: LatchSessionOptions;
  /** The nodes to be deleted, until it is known that they are gone. */
  readonly #doomed = new Set<LatchNode>();
  readonly #renewals: Renewals;

  constructor(options: LatchSessionOptions) {
    this.#options = options;
    this.terms = new HeldTerms(options.clock, (node) => void this.doom(node));
    this.client = new ZooKeeperClient({
      ...options,
      onAttached: () => {
        const { attachments, sessionTimeout } = this.client;
        if (attachments === 1 && sessionTimeout > options.sessionTimeout) options.onSlower(sessionTimeout);
        for (const node of this.#doomed) void this.#bury(node);
      },
      onEnded: () => {
        this.terms.clear();
        this.#doomed.clear();
        options.onEnded(this);
      },
    });
    this.#renewals = new Renewals(this.client);
  }

  /** The path of a group. */
  directory(group: string): string {
    return `${this.#options.root}/${encodeGroup(group)}`;
  }

  /** Creates `node` and lists its group, in one round-trip time. Makes its parents first where they are missing. */
  async create(node: LatchNode, signal: AbortSignal): Promise<string[]> {
    const directory = this.directory(node.group);
    const prefix = latchPrefix(directory, node.kind, node.guid);
    const data = new TextEncoder().encode(node.participantId);
    for (let attempt = 0;; attempt++) {
      node.asked = true;
      const creating = this.client.call(create(prefix, data, this.#acl, NodeKind.ephemeralSequential), signal);
      const listing = this.client.call(getChildren(directory), signal);
      listing.catch(() => {});
      try {
        node.created = await creating;
      } catch (error) {
        // A container is deleted by the server some time after its last child, maybe just now.
        if (!isError(error, ErrorCode.noNode) || attempt === 2) throw error;
        node.asked = false;
        await this.#createDirectory(directory, NodeKind.container, signal);
        continue;
      }
      if (hasSequence(nameOf(node.created.path))) return await listing;
      throw new Error(`the sequence numbers of ${directory} have overflowed: delete it while nobody takes part`);
    }
  }

  /**
   * Looks for a node whose creation was asked for, but not answered. The `sync` makes that certain: the server that we are
   * attached to now has then seen all that was agreed on before, and what the old one had not yet passed on is refused,
   * because the session has moved.
   */
  async locate(node: LatchNode, signal: AbortSignal): Promise<void> {
    const directory = this.directory(node.group);
    const prefix = nameOf(latchPrefix(directory, node.kind, node.guid));
    const name = (await this.list(node.group, signal, true)).find((each) => each.startsWith(prefix));
    if (name === undefined) {
      node.asked = false;
      return;
    }
    const path = `${directory}/${name}`;
    node.created = { path, stat: await this.client.call(exists(path), signal) };
  }

  /** Lists the nodes of a group; none when it does not exist. `fresh` asks the ensemble's leader what is new first. */
  async list(group: string, signal: AbortSignal, fresh = false): Promise<string[]> {
    const directory = this.directory(group);
    const synced = fresh ? this.client.call(sync(this.#options.root), signal) : undefined;
    const listing = this.client.call(getChildren(directory), signal).catch((error) => {
      if (isError(error, ErrorCode.noNode)) return [];
      throw error;
    });
    const [names] = await Promise.all([listing, synced]);
    return names;
  }

  /** Reads who leads, when `children` are the nodes of the group. */
  async leader(group: string, children: readonly string[], signal: AbortSignal): Promise<LeaderInfo | null> {
    const [head] = inOrder(children);
    if (head === undefined) return null;
    const directory = this.directory(group);
    try {
      const [node, record] = await Promise.all([
        this.client.call(getData(`${directory}/${head}`), signal),
        this.client.call(getData(directory), signal),
      ]);
      return describeLeader(head, node, record);
    } catch (error) {
      if (isError(error, ErrorCode.noNode)) return null;
      throw error;
    }
  }

  /**
   * Renews `node`: one transaction that checks that it exists. Returns false when it does not. All that are asked for in
   * the same turn of the event loop share one.
   */
  renew(node: LatchNode, signal: AbortSignal): Promise<boolean> {
    return node.created === null ? Promise.resolve(false) : this.#renewals.renew(node.created.path, signal);
  }

  /** Writes who leads, in one transaction with a check of `node`, which must be first. Returns false when it is gone. */
  async record(
    node: LatchNode,
    termId: string,
    metadata: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<boolean> {
    const path = node.created?.path ?? "";
    const acquiredAt = node.grantedAt === null ? {} : { acquiredAt: node.grantedAt };
    const data = encodeRecord({ node: nameOf(path), termId, ...acquiredAt, metadata });
    try {
      const writing = setData(this.directory(node.group), data);
      const results = await this.client.call(multi([check(path), writing]), signal);
      const stat = results[1] as Stat;
      if (node.kind === "place") node.grantedAt ??= stat.mtime;
      return true;
    } catch (error) {
      if (isError(error, ErrorCode.noNode)) return false;
      throw error;
    }
  }

  /** Deletes `node`, found by its guid if need be. Returns false when it was gone. */
  async erase(node: LatchNode, signal: AbortSignal): Promise<boolean> {
    if (node.created === null && node.asked) await this.locate(node, signal);
    return node.created !== null && await this.erasePath(node.created.path, signal);
  }

  /** Deletes the node at `path`. Returns false when it was gone. */
  async erasePath(path: string, signal: AbortSignal): Promise<boolean> {
    try {
      await this.client.call(remove(path), signal);
      return true;
    } catch (error) {
      if (isError(error, ErrorCode.noNode)) return false;
      throw error;
    }
  }

  /**
   * Ends a term that some other session holds. Returns false if it does not lead.
   *
   * @throws {Error} if it leads through Curator
   */
  async evict(group: string, termId: string, signal: AbortSignal): Promise<boolean> {
    const children = await this.list(group, signal, true);
    const leader = await this.leader(group, children, signal);
    const [head] = inOrder(children);
    if (head === undefined || leader?.termId !== termId) return false;
    if (parseName(head).kind === "foreign") {
      throw new Error(`${leader.leaderId} leads through Curator, which would not notice that its node is gone`);
    }
    return await this.erasePath(`${this.directory(group)}/${head}`, signal);
  }

  /**
   * Deletes `node` while the one named `before` still stands before it, in one transaction: so it was never the first. Returns
   * false if either is gone.
   */
  async withdraw(node: LatchNode, before: string, signal: AbortSignal): Promise<boolean> {
    const { path } = node.created ?? {};
    if (path === undefined) return true;
    try {
      await this.client.call(multi([check(`${this.directory(node.group)}/${before}`), remove(path)]), signal);
    } catch (error) {
      if (isError(error, ErrorCode.noNode)) return false;
      throw error;
    }
    node.created = null;
    node.asked = false;
    return true;
  }

  /** Deletes `node`, now or when there is a connection again; resolves after the first try. Never rejects. */
  doom(node: LatchNode): Promise<void> {
    if (this.client.ended !== null) return Promise.resolve();
    this.#doomed.add(node);
    return this.#bury(node);
  }

  /** Makes sure that the root exists and that nodes can be created and deleted in it; leaves nothing behind. */
  async probe(signal: AbortSignal): Promise<void> {
    const { root } = this.#options;
    const path = `${root}/probe-${crypto.randomUUID()}`;
    const probing = multi([create(path, NOTHING, this.#acl, NodeKind.persistent), remove(path)]);
    try {
      await this.client.call(probing, signal);
    } catch (error) {
      if (!isError(error, ErrorCode.noNode)) throw error;
      await this.#createDirectory(root, NodeKind.persistent, signal);
      await this.client.call(probing, signal);
    }
  }

  get #acl() {
    return this.#options.credentials === undefined ? OPEN_ACL : CREATOR_ALL_ACL;
  }

  async #createDirectory(path: string, kind: number, signal: AbortSignal): Promise<void> {
    const creating = () =>
      this.client.call(create(path, NOTHING, this.#acl, kind), signal).catch((error) => {
        if (!isError(error, ErrorCode.nodeExists)) throw error;
      });
    try {
      await creating();
    } catch (error) {
      const parent = path.slice(0, path.lastIndexOf("/"));
      if (!isError(error, ErrorCode.noNode) || parent === "") throw error;
      await this.#createDirectory(parent, NodeKind.persistent, signal);
      await creating();
    }
  }

  async #bury(node: LatchNode): Promise<void> {
    try {
      await this.erase(node, NEVER);
      this.#doomed.delete(node);
    } catch (error) {
      // Without a connection it is tried again when there is one. What the server refuses, it will refuse again.
      if (this.client.ended === null && !isError(error, ErrorCode.connectionLoss)) this.#doomed.delete(node);
    }
  }
}
