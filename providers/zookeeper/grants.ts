/**
 * The way in which a node comes to stand for a term, and in which its term says more about itself later.
 *
 * @module
 */

import { type LatchRecord, nameOf } from "./latch.ts";
import type { LatchNode } from "./latch_node.ts";
import { ErrorCode, ZooKeeperError } from "./protocol.ts";
import type { Records } from "./records.ts";

/** The parts that a session lends to its grants. */
export interface GrantsOptions {
  readonly records: Records;
  /** The path of a group. */
  readonly directoryOf: (group: string) => string;
  /** Renews a node over the own connection. */
  readonly renew: (node: LatchNode, signal: AbortSignal) => Promise<boolean>;
  /** Called when a lease was granted whose metadata the server would not take. */
  readonly onUnrecorded: (node: LatchNode, error: unknown) => void;
}

/** The grants of one session. */
export class Grants {
  readonly #options: GrantsOptions;
  readonly #records: Records;

  constructor(options: GrantsOptions) {
    this.#options = options;
    this.#records = options.records;
  }

  /**
   * Grants the lease to `node`, which must be first, for `termId`; `isNew` says that it was made by this call. Returns
   * false when it is gone. The lease does not depend on the metadata: where the server refuses them, or hangs up on
   * them, others see none, and the reason is logged.
   */
  async give(
    node: LatchNode,
    termId: string,
    metadata: LatchRecord["metadata"],
    isNew: boolean,
    signal: AbortSignal,
  ): Promise<boolean> {
    const isLarge = this.#records.isLarge(recordOf(node, termId, metadata));
    const bare = () =>
      node.kind === "place" ? this.record(node, termId, {}, signal) : this.#options.renew(node, signal);
    let isThere: boolean;
    if (isLarge || Object.keys(metadata).length === 0) {
      isThere = (isNew && node.kind === "term") || await bare();
    } else {
      try {
        isThere = await this.record(node, termId, metadata, signal);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        isThere = await bare();
        this.#options.onUnrecorded(node, error);
      }
    }
    if (isThere && isLarge && !node.triedLarge) {
      node.triedLarge = true;
      try {
        await this.#write(node, termId, metadata, signal);
      } catch (error) {
        signal.throwIfAborted();
        this.#options.onUnrecorded(node, error);
      }
    }
    return isThere;
  }

  /**
   * Writes who leads, in one transaction with a check of `node`, which must be first. Returns false when it is gone.
   * This renews the lease: a large record's transaction comes from another session and says nothing of when the
   * ensemble heard from this one, so a renewal goes beside it.
   */
  async record(
    node: LatchNode,
    termId: string,
    metadata: LatchRecord["metadata"],
    signal: AbortSignal,
  ): Promise<boolean> {
    const isLarge = this.#records.isLarge(recordOf(node, termId, metadata));
    const renewing = isLarge ? this.#options.renew(node, signal) : Promise.resolve(true);
    const [isThere, isWritten] = await Promise.all([renewing, this.#write(node, termId, metadata, signal)]);
    return isThere && isWritten;
  }

  async #write(
    node: LatchNode,
    termId: string,
    metadata: LatchRecord["metadata"],
    signal: AbortSignal,
  ): Promise<boolean> {
    const paths = { directory: this.#options.directoryOf(node.group), path: node.created?.path ?? "" };
    const stat = await this.#records.write(node, paths, recordOf(node, termId, metadata), signal);
    if (stat !== null && node.kind === "place") node.grantedAt ??= stat.mtime;
    return stat !== null;
  }
}

function recordOf(node: LatchNode, termId: string, metadata: LatchRecord["metadata"]): LatchRecord {
  const acquiredAt = node.grantedAt === null ? {} : { acquiredAt: node.grantedAt };
  return { node: nameOf(node.created?.path ?? ""), termId, ...acquiredAt, metadata };
}

/** Returns true if the server has said no, so that to ask again would be in vain. */
export function isRefusal(error: unknown): boolean {
  const { connectionLoss, sessionExpired, sessionMoved } = ErrorCode;
  return error instanceof ZooKeeperError &&
    ![connectionLoss, sessionExpired, sessionMoved].some((code) => code === error.code);
}
