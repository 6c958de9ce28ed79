/**
 * One ZooKeeper session and the nodes of ours that live in it: made, renewed, granted, and got rid of for sure.
 *
 * @module
 */

import type { Clock } from "../../src/time/clock.ts";
import type { LeaderInfo } from "../../src/provider.ts";
import type { TlsFiles } from "../kit/tls_files.ts";
import { ZooKeeperClient } from "./client.ts";
import type { Server } from "./endpoints.ts";
import { Grants } from "./grants.ts";
import { HeldTerms } from "./held_terms.ts";
import {
  describeLeader,
  encodeGroup,
  hasSequence,
  inOrder,
  latchPrefix,
  nameOf,
  namesBefore,
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
  sync,
} from "./protocol.ts";
import { Records } from "./records.ts";
import { Renewals } from "./renewals.ts";

/** The settings of a session. */
export interface LatchSessionOptions {
  readonly servers: readonly Server[];
  readonly root: string;
  readonly credentials?: string | undefined;
  readonly tls?: TlsFiles | undefined;
  readonly sessionTimeout: number;
  readonly clock: Clock;
  /** Called once when the session has ended. */
  readonly onEnded: (session: LatchSession) => void;
  /** Called when the server keeps the session longer than asked. */
  readonly onSlower: (grantedTimeout: number) => void;
  /** Called when a lease was granted whose metadata the server would not take. */
  readonly onUnrecorded: (node: LatchNode, error: unknown) => void;
}

/** The node that stands first before a place. */
export interface Head {
  /** Its name. */
  readonly name: string;
  /** The leader that it stands for; null while it is a place that has not been claimed. */
  readonly leader: LeaderInfo | null;
}

/** After so many names in a row that are gone, it is cheaper to list those that are left. */
const MAX_MISSES = 3;
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
  readonly #records: Records;
  /** The grants of leases to nodes in it. */
  readonly grants: Grants;

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
    const { servers, sessionTimeout, credentials, tls, clock } = options;
    const openAside = () => new ZooKeeperClient({ servers, sessionTimeout, credentials, tls, clock });
    this.#records = new Records(this.client, openAside, clock);
    this.grants = new Grants({
      records: this.#records,
      directoryOf: (group) => this.directory(group),
      renew: (node, signal) => this.renew(node, signal),
      onUnrecorded: options.onUnrecorded,
    });
  }

  /** Ends the session. */
  async close(): Promise<void> {
    await Promise.all([this.client.close(), this.#records.close()]);
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
   * Looks for a node whose creation was asked for, but not answered. The `sync` makes that certain: the server that we
   * are attached to now has then seen all that was agreed on before, and what the old one had not yet passed on is
   * refused, because the session has moved.
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
   * Renews `node`: one transaction that checks that it exists. Returns false when it does not. All that are asked for
   * in the same turn of the event loop share one.
   */
  renew(node: LatchNode, signal: AbortSignal): Promise<boolean> {
    return node.created === null ? Promise.resolve(false) : this.#renewals.renew(node.created.path, signal);
  }

  /**
   * Reads who stands first before `node`, a place. Null when nobody is left: then it is first itself. Undefined when it
   * is gone. `onEvent` is called when that node is gone; and, while it is a place that is not claimed, when the record
   * is written.
   *
   * Why no list is needed each time: those who come later stand behind, so the names before a place only become fewer,
   * and the first that exists of an older list is the first of all. A list made after its own creation, in the same
   * session, holds every one of them. A name that is gone never comes back.
   */
  async head(node: LatchNode, signal: AbortSignal, onEvent?: () => void): Promise<Head | null | undefined> {
    const directory = this.directory(node.group);
    // Ends: each round is brought about by the end of a node that stood before.
    for (let misses = 0;; misses++) {
      if (node.ahead === null || misses > MAX_MISSES) {
        node.ahead = namesBefore(await this.list(node.group, signal), nameOf(node.created?.path ?? ""));
        misses = 0;
      }
      if (node.ahead === null) return undefined;
      const [name] = node.ahead;
      if (name === undefined) return null;
      try {
        const [content, group] = await Promise.all([
          this.client.call(getData(`${directory}/${name}`, onEvent !== undefined), signal, onEvent),
          this.client.call(getData(directory), signal),
        ]);
        const leader = describeLeader(name, content, group);
        if (leader !== null || onEvent === undefined) return { name, leader };
        // Watched only as long as it matters: a record also changes with the metadata of the leader.
        const since = await this.client.call(getData(directory, true), signal, onEvent);
        return { name, leader: describeLeader(name, content, since) };
      } catch (error) {
        if (!isError(error, ErrorCode.noNode)) throw error;
        if (node.ahead?.[0] === name) node.ahead.shift();
      }
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
   * Deletes `node` while the one named `before` still stands before it, in one transaction: so it was never the first.
   * Returns false if either is gone.
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
      // Without a connection it is tried again when there is one. A call that the server refuses, it will refuse again.
      if (this.client.ended === null && !isError(error, ErrorCode.connectionLoss)) this.#doomed.delete(node);
    }
  }
}
