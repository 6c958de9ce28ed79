/**
 * Makes the connections of one MySQL provider.
 *
 * @module
 */

import { connect, type Socket } from "node:net";
import { abortable } from "../../src/call.ts";
import { dial } from "../kit/dial.ts";
import { PooledClient } from "../kit/own_pool.ts";
import { type Client, query } from "./client.ts";
import { type Driver, type DriverConnection, loadMysql2 } from "./driver.ts";
import { readTls, type Target } from "./target.ts";

/** The settings of a dialer. */
export interface DialerSettings {
  /** Where to connect, and as whom. */
  readonly target: Target;
  /** The longest time that making a connection may take, in milliseconds. */
  readonly connectTimeout: number;
  /** The longest time that a statement may take, in milliseconds. */
  readonly statementTimeout: number;
}

/** A client of a pool of our own. */
export class OwnClient extends PooledClient implements Client {
  readonly #connection: DriverConnection;
  readonly #statementTimeout: number;

  /** Wraps `connection`, which runs over `socket`. */
  constructor(connection: DriverConnection, socket: Socket, statementTimeout: number) {
    super({
      on: (event, listener) => connection.on(event, listener),
      removeListener: (event, listener) => connection.removeListener(event, listener),
      farewell: () => connection.destroy(),
      // The driver only says that it will send no more; a server that hangs would keep the connection for ever.
      destroy: () => socket.destroy(),
    });
    this.#connection = connection;
    this.#statementTimeout = statementTimeout;
  }

  run(statements: readonly string[]): Promise<readonly (readonly (string | null)[])[]> {
    return query(this.#connection, statements, this.#statementTimeout);
  }
}

/**
 * Builds the settings of a session, whatever the server's defaults are. A wait for a locked row, or for a table that is
 * being changed, must not come to life long after its caller has given up; a second is the shortest that MySQL knows.
 * MariaDB, which alone reads the comment, then waits at a node of a Galera cluster for what others have committed.
 */
function sessionSql(statementTimeout: number): readonly string[] {
  return [
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE",
    `SET SESSION autocommit = 1, innodb_lock_wait_timeout = 1, lock_wait_timeout = ${
      Math.ceil(statementTimeout / 1_000)
    } /*M!100300 , wsrep_sync_wait = 3 */`,
  ];
}

/** Makes connections. */
export class Dialer {
  readonly #settings: DialerSettings;
  readonly #sockets = new Set<Socket>();

  /** Makes it, without I/O. */
  constructor(settings: DialerSettings) {
    this.#settings = settings;
  }

  /** Connects, logs in and sets up the session. */
  async dial(signal: AbortSignal): Promise<OwnClient> {
    const driver = await loadMysql2();
    const { target, connectTimeout, statementTimeout } = this.#settings;
    const ssl = await readTls(target);
    const late = AbortSignal.timeout(connectTimeout);
    const bound = AbortSignal.any([signal, late]);
    try {
      bound.throwIfAborted();
      const socket = await this.#connect(bound);
      const connection = await logIn(driver, { target, ssl, socket }, bound);
      const client = new OwnClient(connection, socket, statementTimeout);
      try {
        await abortable(client.run(sessionSql(statementTimeout)), bound);
        return client;
      } catch (error) {
        client.release(true);
        throw error;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (late.aborted) throw new Error(`${nameOf(target)} does not answer within ${connectTimeout} ms`);
      throw error;
    }
  }

  /** Closes every connection at once. */
  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async #connect(signal: AbortSignal): Promise<Socket> {
    const { target } = this.#settings;
    const socket = await (target.socketPath === undefined ? dial(target, signal) : dialPath(target.socketPath, signal));
    socket.setNoDelay(true);
    socket.setKeepAlive(true);
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    return socket;
  }
}

function dialPath(path: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    const onAbort = () => socket.destroy(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("connect", () => {
      signal.removeEventListener("abort", onAbort);
      resolve(socket);
    });
    // It stays, so that a later error has a listener.
    socket.on("error", reject);
  });
}

interface LogIn {
  readonly target: Target;
  readonly ssl: Readonly<Record<string, unknown>> | undefined;
  readonly socket: Socket;
}

/** Waits for the end of the handshake. */
async function logIn(driver: Driver, { target, ssl, socket }: LogIn, signal: AbortSignal): Promise<DriverConnection> {
  const { user, password, database } = target;
  const connection = driver.createConnection({
    stream: socket,
    // The name that a certificate is held against.
    host: target.tls.servername ?? target.host,
    ...Object.fromEntries(Object.entries({ user, password, database, ssl }).filter(([, value]) => value !== undefined)),
    multipleStatements: true,
    // The signal bounds it.
    connectTimeout: 0,
    connectAttributes: { program_name: "multilock" },
  });
  const ready = new Promise<void>((resolve, reject) => {
    connection.on("connect", () => resolve());
    // It stays until the client has its own, so that an error which comes in between has a listener.
    connection.on("error", reject);
  });
  try {
    await abortable(ready, signal);
    return connection;
  } catch (error) {
    connection.destroy();
    socket.destroy();
    throw error;
  }
}

function nameOf({ host, port, socketPath }: Target): string {
  return socketPath ?? `${host}:${port}`;
}
