/**
 * The records of who leads: written in order, and without harm to anything else where a server does not take one.
 *
 * A server closes the connection on a request that is longer than its `jute.maxbuffer`: under every lease and watch of
 * the session, and again with each repetition. The limit is 1 MiB by default, but an administrator may have lowered it,
 * and no request tells how far. So a record that might be too long goes over a connection of its own, with a session of
 * its own, which is closed after it. A size that a server has hung up on is not sent again for a while.
 *
 * @module
 */

import { abortable } from "../../src/call.ts";
import type { Clock } from "../../src/time/clock.ts";
import type { ZooKeeperClient } from "./client.ts";
import { encodeRecord, type LatchRecord } from "./latch.ts";
import type { LatchNode } from "./latch_node.ts";
import { check, ErrorCode, isError, multi, type Operation, setData, type Stat } from "./protocol.ts";

/** A record up to this length, in bytes, fits whatever a server may be told to take. */
const SMALL_BYTES = 2 * 1024;
/** Longer metadata, in bytes of JSON, is refused: every follower reads it. The core's own bound is 64 KiB. */
const MAX_METADATA_BYTES = 448 * 1024;
/** For how long a length is not sent again that a server has hung up on, in milliseconds. */
const REFUSED_MS = 60_000;

const UTF8 = new TextEncoder();

/** @throws {RangeError} if no server should be asked to keep that much */
export function checkMetadata(metadata: Readonly<Record<string, string>> | undefined): void {
  const bytes = metadata === undefined ? 0 : UTF8.encode(JSON.stringify(metadata)).length;
  if (bytes <= MAX_METADATA_BYTES) return;
  throw new RangeError(`metadata must have at most ${MAX_METADATA_BYTES} bytes as JSON, got ${bytes}`);
}

/** The records of one session. */
export class Records {
  readonly #client: ZooKeeperClient;
  readonly #open: () => ZooKeeperClient;
  readonly #clock: Clock;
  /** The connection for large records, while there are any. */
  #aside: { readonly client: ZooKeeperClient; users: number } | null = null;
  readonly #closing = new Set<Promise<void>>();
  /** The last of those that are written aside, one after the other: so it is known which one a server hangs up on. */
  #turn: Promise<unknown> = Promise.resolve();
  /** The least length that was refused, and when. */
  #refused: { readonly bytes: number; readonly at: number } | null = null;

  /** Writes over `client`, or over what `open` opens. */
  constructor(client: ZooKeeperClient, open: () => ZooKeeperClient, clock: Clock) {
    this.#client = client;
    this.#open = open;
    this.#clock = clock;
  }

  /**
   * Returns true if a record is not sure to be taken. It is written aside, so its transaction says nothing of the own
   * session.
   */
  isLarge(record: LatchRecord): boolean {
    return encodeRecord(record).length > SMALL_BYTES;
  }

  /**
   * Writes `record` to `directory`, in one transaction with a check of the node at `path`. Of those that are written
   * for one node, the last one stays. Null when the node is gone.
   */
  async write(
    node: LatchNode,
    { directory, path }: { readonly directory: string; readonly path: string },
    record: LatchRecord,
    signal: AbortSignal,
  ): Promise<Stat | null> {
    const data = encodeRecord(record);
    const isSmall = data.length <= SMALL_BYTES;
    const before = node.writing;
    const send = async () => {
      // Requests of one connection are carried out in order, those of two are not.
      if (before !== null && !(isSmall && before.inOrder)) await abortable(before.settled, signal);
      signal.throwIfAborted();
      const operation = multi([check(path), setData(directory, data)]);
      const results = isSmall
        ? await this.#client.call(operation, signal)
        : await this.#inTurn(signal, () => this.#writeAside(data.length, operation, signal));
      return results[1] as Stat;
    };
    const sent = send();
    const settled = Promise.allSettled([before?.settled, sent]);
    const writing = node.writing = { inOrder: isSmall && before?.inOrder !== false, settled };
    void settled.then(() => {
      if (node.writing === writing) node.writing = null;
    });
    try {
      return await sent;
    } catch (error) {
      if (isError(error, ErrorCode.noNode)) return null;
      throw error;
    }
  }

  /** Closes what was opened aside. */
  async close(): Promise<void> {
    const aside = this.#aside;
    this.#aside = null;
    await Promise.all([aside?.client.close(), ...this.#closing]);
  }

  #inTurn<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const done = abortable(this.#turn, signal).then(work);
    this.#turn = Promise.allSettled([this.#turn, done]);
    return done;
  }

  async #writeAside<T>(bytes: number, operation: Operation<T>, signal: AbortSignal): Promise<T> {
    this.#refuseAgain(bytes);
    const aside = this.#aside ??= { client: this.#open(), users: 0 };
    aside.users++;
    let isWritten = false;
    try {
      await abortable(aside.client.connected(), signal);
      isWritten = true;
      return await aside.client.call(operation, signal);
    } catch (error) {
      if (isWritten && isError(error, ErrorCode.connectionLoss)) {
        this.#refused = { bytes: Math.min(bytes, this.#refused?.bytes ?? Infinity), at: this.#clock.monotonic() };
        throw hungUpOn(bytes, error);
      }
      throw error;
    } finally {
      if (--aside.users === 0) this.#closeAside(aside);
    }
  }

  #refuseAgain(bytes: number): void {
    const refused = this.#refused;
    if (refused === null) return;
    if (this.#clock.monotonic() - refused.at >= REFUSED_MS) this.#refused = null;
    else if (bytes >= refused.bytes) throw hungUpOn(refused.bytes);
  }

  #closeAside(aside: { readonly client: ZooKeeperClient }): void {
    if (this.#aside === aside) this.#aside = null;
    const closed: Promise<void> = aside.client.close().finally(() => this.#closing.delete(closed));
    this.#closing.add(closed);
  }
}

function hungUpOn(bytes: number, cause?: unknown): Error {
  const why = `the server hung up on metadata of ${bytes} bytes; its jute.maxbuffer may be smaller`;
  return new Error(why, cause === undefined ? {} : { cause });
}
