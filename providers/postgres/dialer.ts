/**
 * Makes connections: chooses among several hosts and among the addresses of one, and takes none that refuses writes.
 *
 * @module
 */

import { type Attempt, attemptsInstead, connectOptions, endAtSeveral } from "../kit/addresses.ts";
import { loadDriver } from "../kit/driver.ts";
import { lookup } from "node:dns/promises";
import { isIP, Socket } from "node:net";
import { abortable } from "../../src/call.ts";
import type { PostgresQuery } from "./connections.ts";
import { sqlState } from "./sql_state.ts";
import type { Host, Target } from "./target.ts";
import { readTls } from "./tls.ts";

/** The part of a `Client` of `pg` that is used. Its package brings no types. */
export interface DriverClient {
  readonly processID?: number | null;
  connect(): Promise<unknown>;
  query(query: PostgresQuery): Promise<{ readonly rows: readonly unknown[] }>;
  end(): Promise<void>;
  on(event: string, listener: (detail: unknown) => void): unknown;
  removeListener(event: string, listener: (detail: unknown) => void): unknown;
}

/** A connection, ready for use. */
export interface Connection {
  readonly driver: DriverClient;
  /** The socket it runs over: destroyed, it is closed at once. */
  readonly socket: Socket;
}

/** Makes one connection, until `signal` aborts. */
export type Dial = (signal: AbortSignal) => Promise<Connection>;

/** The settings of a dialer. */
export interface DialerSettings {
  /** Where to connect, and as whom. */
  readonly target: Target;
  /** The time that making a connection may take, however many hosts there are, in milliseconds. */
  readonly connectTimeout: number;
  /** The time for which the server lets a statement run, in milliseconds. */
  readonly statementTimeout: number;
}

/** Where a connection may go. `host` is what a certificate must name, `address` where the packets go. */
interface Candidate extends Host {
  readonly address: string | undefined;
  /** Of a name the first address of this family, 4 or 6. */
  readonly family?: number | undefined;
}

/** The first address of a name, whichever that is. */
const ANY_FAMILY = 0;

/** Makes the connections of one provider. */
export class Dialer {
  /** A pooler was met that forwards no settings of a session, and so no session either. */
  refusesSettings = false;
  readonly #settings: DialerSettings;
  readonly #sockets = new Set<Socket>();
  /** The candidate to begin with: the one after the last that did not work. */
  #first = 0;
  /**
   * The addresses of names that may not be looked up, as they were told when they were connected to; until none of them
   * works.
   */
  readonly #told = new Map<string, readonly Attempt[]>();

  /** Makes it, without I/O. */
  constructor(settings: DialerSettings) {
    this.#settings = settings;
  }

  /**
   * Connects to the first candidate that answers and may write. Each gets an equal share of the time that is left, so
   * that one that swallows packets leaves time for the next; and a call that is aborted in the middle leaves the next
   * one to begin there.
   *
   * @throws {Error} saying of each candidate why not
   */
  async dial(signal: AbortSignal): Promise<Connection> {
    const Client = await loadClient();
    signal.throwIfAborted();
    const candidates = await this.#candidates(signal);
    const failures: { readonly where: string; readonly error: unknown }[] = [];
    const start = this.#first;
    const end = AbortSignal.timeout(this.#settings.connectTimeout);
    for (let i = 0; i < candidates.length && !end.aborted; i++) {
      const index = (start + i) % candidates.length;
      const candidate = candidates[index] as Candidate;
      const share = Math.ceil(this.#settings.connectTimeout / candidates.length);
      const bound = AbortSignal.any([signal, end, AbortSignal.timeout(share)]);
      try {
        return await this.#connect(Client, candidate, bound);
      } catch (error) {
        // Also if nobody waits any more: a call that is shorter than a share must not begin with this one for ever.
        if (this.#first === index) this.#first = (index + 1) % candidates.length;
        signal.throwIfAborted();
        const instead = attemptsInstead(error);
        if (candidate.host !== undefined && instead.length > 0) {
          // Ends: a host that is in there is not left to the runtime again.
          this.#told.set(candidate.host, instead);
          return await this.dial(signal);
        }
        failures.push({ where: nameOf(candidate), error: bound.aborted ? new Error("it does not answer") : error });
      }
    }
    this.#told.clear();
    throw explainFailures(failures);
  }

  /** Closes every connection at once. */
  close(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async #candidates(signal: AbortSignal): Promise<Candidate[]> {
    const found = await Promise.all(
      this.#settings.target.hosts.map((host) => abortable(this.#addressesOf(host), signal)),
    );
    return found.flat();
  }

  /**
   * The addresses of a host that has several: the name alone would be left to the runtime, which may wait for ever for
   * one that swallows packets. The name itself comes last, for runtimes whose permissions name it and not its
   * addresses.
   */
  async #addressesOf(host: Host): Promise<Candidate[]> {
    const byName: Candidate = { ...host, address: undefined };
    if (host.host === undefined || host.host.startsWith("/") || isIP(host.host) !== 0) return [byName];
    const found = await lookup(host.host, { all: true }).catch(() => null);
    if (found === null) {
      const told = this.#told.get(host.host);
      return told ? told.map((each) => ({ ...host, address: each.host, family: each.family })) : [byName];
    }
    const addresses = [...new Set(found.map(({ address }) => address))];
    if (addresses.length < 2) return [byName];
    return [...addresses.map((address) => ({ ...host, address })), { ...byName, family: ANY_FAMILY }];
  }

  async #connect(Client: DriverClass, candidate: Candidate, signal: AbortSignal): Promise<Connection> {
    const withSettings = !this.refusesSettings;
    try {
      return await this.#tryConnect(Client, candidate, withSettings, signal);
    } catch (error) {
      if (!withSettings || !isRefusedSetting(error)) throw error;
      this.refusesSettings = true;
      return await this.#tryConnect(Client, candidate, false, signal);
    }
  }

  async #tryConnect(
    Client: DriverClass,
    candidate: Candidate,
    withSettings: boolean,
    signal: AbortSignal,
  ): Promise<Connection> {
    const { target, statementTimeout } = this.#settings;
    const { driver: settings, user, password, database, sessionAttrs } = target;
    const ssl = await readTls(target.tls);
    signal.throwIfAborted();
    const socket = this.#socket(candidate);
    // Anything that is undefined is what the PG* variables say.
    const driver = new Client({
      ...(withSettings && { statement_timeout: statementTimeout }),
      fallback_application_name: "multilock",
      ...settings,
      ...defined({
        user,
        password,
        database,
        ssl,
        port: candidate.port,
        host: target.tls.servername ?? candidate.host,
      }),
      keepAlive: true,
      stream: socket,
    });
    driver.on("error", ignore);
    const onAbort = () => socket.destroy();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      await abortable(driver.connect(), signal);
      if (sessionAttrs !== "any") await abortable(refuseStandby(driver), signal);
      return { driver, socket };
    } catch (error) {
      void driver.end().catch(ignore);
      socket.destroy();
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
      driver.removeListener("error", ignore);
    }
  }

  /**
   * A socket that goes to the candidate's address, whatever name the driver connects it to: that name is for the
   * certificate.
   */
  #socket({ address, host, port, family }: Candidate): Socket {
    const socket = new Socket();
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    const to = address ?? host;
    if (to === undefined || to.startsWith("/")) return socket;
    const connect = socket.connect.bind(socket);
    endAtSeveral(socket, to);
    const redirected = (driverPort: number) =>
      connect({ ...connectOptions({ host: to, family }), port: port ?? driverPort });
    return Object.assign(socket, { connect: redirected });
  }
}

type DriverClass = new (options: Readonly<Record<string, unknown>>) => DriverClient;

async function loadClient(): Promise<DriverClass> {
  const { Client } = await loadDriver<{ Client: DriverClass }>("pg", () => import("pg"), () => import("npm:pg@^8"));
  return Client;
}

/** @throws {Error} if the server of `client` takes no writes */
async function refuseStandby(client: DriverClient): Promise<void> {
  const text = "SELECT current_setting('transaction_read_only'), pg_is_in_recovery()::text";
  const { rows } = await client.query({ text, rowMode: "array" });
  const [readOnly, standby] = rows[0] as unknown[];
  if (standby === "true") throw new Error("it is a standby");
  if (readOnly !== "off") throw new Error("it is read-only");
}

function nameOf({ host, address, port }: Candidate): string {
  const name = host === undefined ? "the host of the PG* variables" : `${host}${port === undefined ? "" : `:${port}`}`;
  return address === undefined || address === host ? name : `${name} (${address})`;
}

function explainFailures(failures: readonly { readonly where: string; readonly error: unknown }[]): unknown {
  const last = failures.at(-1)?.error;
  // A refusal of the server itself needs no more words, and its code is for others to read.
  if (failures.length === 1 && sqlState(last) !== "") return last;
  const why = failures.map(({ where, error }) => `${where}: ${wordsOf(error)}`).join("; ");
  const code = sqlState(last);
  return Object.assign(new Error(`cannot connect to ${why}`, { cause: last }), code !== "" && { code });
}

function wordsOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(wordsOf).join(", ");
  return error instanceof Error ? error.message || error.name : String(error);
}

function isRefusedSetting(error: unknown): boolean {
  return sqlState(error) === "08P01" && error instanceof Error && error.message.includes("startup parameter");
}

function defined(values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

function ignore(): void {}
