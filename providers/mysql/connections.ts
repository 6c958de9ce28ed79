/**
 * The connections of one MySQL provider: of a pool of its own, or of the user's.
 *
 * @module
 */

import { type ConnectionSource, LanedConnections, type LaneOptions } from "../kit/laned_connections.ts";
import { lanesOf, ownLanes } from "../kit/lanes.ts";
import { OwnPool } from "../kit/own_pool.ts";
import { type Client, GuestClient, type Rows } from "./client.ts";
import { Dialer, type DialerSettings } from "./dialer.ts";
import { inspectPool, type MysqlPool } from "./driver.ts";
import { isFit } from "./failures.ts";

/** The settings to connect. */
export interface ConnectionSettings extends Omit<DialerSettings, "target"> {
  /** Where to, unless there is a pool. */
  readonly target: DialerSettings["target"] | undefined;
  /** A pool to use instead. It stays its owner's. */
  readonly pool?: MysqlPool | undefined;
  /** The most connections for calls, in a pool of our own. */
  readonly poolSize: number;
}

/** Runs statements. It connects on first use, and remembers no failure. */
export class Connections {
  readonly #laned: LanedConnections<Client>;

  /** Makes the connections, without I/O. @throws {TypeError | RangeError} if the pool is not fit for leases */
  constructor({ target, pool, poolSize, ...settings }: ConnectionSettings) {
    const { statementTimeout } = settings;
    if (pool !== undefined) {
      const { callbacks, max } = inspectPool(pool);
      const lanes = lanesOf<Client>(callbacks, { max, setting: "connectionLimit", hasHints: false });
      const source: ConnectionSource<Client> = {
        connect: () => GuestClient.take(callbacks, statementTimeout),
        close() {},
        destroy() {},
        // The settings that the session was given for the call have not been set back.
        isFit: () => false,
      };
      this.#laned = new LanedConnections(source, lanes, statementTimeout);
      return;
    }
    if (target === undefined) throw new TypeError('Cannot open provider "mysql": it needs a url or a pool');
    const dialer = new Dialer({ target, ...settings });
    const own = new OwnPool((signal) => dialer.dial(signal));
    const source: ConnectionSource<Client> = {
      connect: (signal) => own.connect(signal),
      close: () => own.close(),
      destroy: () => dialer.close(),
      isFit,
    };
    this.#laned = new LanedConnections(source, ownLanes<Client>(poolSize), settings.connectTimeout);
  }

  /**
   * Sends statements together on one connection. They are asked for when a connection is free, and not at all if
   * `signal` has aborted by then.
   */
  run(statements: () => readonly string[], signal: AbortSignal, options?: LaneOptions): Promise<Rows> {
    return this.#laned.use((client) => client.run(statements()), signal, options);
  }

  /** From now on one connection is kept for the heartbeats of this lease, and of others, until all have gone. */
  keepFor(lease: string): void {
    this.#laned.keepFor(lease);
  }

  /** The lease has gone. */
  letGo(lease: string): void {
    this.#laned.letGo(lease);
  }

  /** Closes every connection of its own, also to a server that hangs. Calls that are under way reject. */
  close(): Promise<void> {
    return this.#laned.close();
  }
}
