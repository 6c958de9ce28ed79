/**
 * The handshake: how a session comes to a server.
 *
 * @module
 */

import type { Clock } from "../../src/time/clock.ts";
import { attemptsInstead } from "../kit/addresses.ts";
import { readTlsFiles, type TlsFiles, type TlsSettings } from "../kit/tls_files.ts";
import { Connection, type ConnectionEvents } from "./connection.ts";
import type { Endpoint, Endpoints } from "./endpoints.ts";
import { authFrame, connectFrame, type ConnectRequest, readConnectReply } from "./protocol.ts";

/** A connection whose session the server has confirmed. */
export interface Attached {
  /** The connection. */
  readonly connection: Connection;
  /** The session timeout that the server grants, in milliseconds; 0 when the session has expired. */
  readonly timeout: number;
  /** The session. */
  readonly sessionId: bigint;
  /** The session's password. */
  readonly password: Uint8Array;
}

/** The settings of an attachment. */
export interface AttachOptions {
  /** `user:password` for the scheme `digest`. */
  readonly credentials?: string | undefined;
  /** The files for TLS; without it, the connection is not encrypted. */
  readonly tls?: TlsFiles | undefined;
  readonly clock: Clock;
}

/** A server that has not answered the handshake for so long, in milliseconds, is left for the next. */
const MIN_CONNECT_MS = 250;
const MAX_CONNECT_MS = 3_000;

/**
 * Attaches to the first server that lets us, trying each address once.
 *
 * @throws {Error} why each of them did not
 */
export async function attachToOne(
  endpoints: Endpoints,
  request: ConnectRequest,
  options: AttachOptions,
  signal: AbortSignal,
): Promise<Attached> {
  // Read each time: certificates are replaced while a process runs.
  const tls = options.tls === undefined ? null : await readTlsFiles(options.tls);
  const inTurn = [...await endpoints.inTurn(signal)];
  const timeoutMs = Math.min(Math.max(request.timeout / inTurn.length, MIN_CONNECT_MS), MAX_CONNECT_MS);
  const failures: unknown[] = [];
  // Ends: an address is followed at most once by its name, a name at most once by its addresses and families, and those
  // by nothing.
  for (const endpoint of inTurn) {
    if (signal.aborted) break;
    try {
      const attached = await attach(endpoint, request, tls, options, timeoutMs, signal);
      endpoints.attached(endpoint);
      return attached;
    } catch (error) {
      endpoints.failed(endpoint);
      const { host, address } = endpoint;
      const instead = attemptsInstead(error instanceof Error ? error.cause : undefined);
      inTurn.push(...instead.map((each) => ({ ...endpoint, address: each.host, family: each.family })));
      if (instead.length > 0) continue;
      failures.push(error);
      const byName = { ...endpoint, address: host };
      // Deno with the permission for the name alone: the runtime may look for an address itself.
      const isTried = inTurn.some((each) => each.address === host && each.port === endpoint.port);
      if (isForbidden(error) && address !== host && !isTried) inTurn.push(byName);
    }
  }
  const why = failures.map((error) => error instanceof Error ? error.message : String(error)).join("; ");
  throw new Error(`no server could be reached: ${why}`, { cause: new AggregateError(failures) });
}

function isForbidden(error: unknown): boolean {
  const { cause } = error as { cause?: { code?: unknown; name?: unknown } };
  return cause?.code === "EPERM" || cause?.code === "EACCES" || cause?.name === "NotCapable";
}

/**
 * Connects to `endpoint`, opens the session of `request` or attaches to it, and authenticates, all within `timeoutMs`.
 * A server that accepts connections but does not answer counts as down.
 *
 * @throws {Error} why it could not
 */
function attach(
  endpoint: Endpoint,
  request: ConnectRequest,
  tls: TlsSettings | null,
  { credentials, clock }: AttachOptions,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Attached> {
  const { host, port, address } = endpoint;
  const name = `${host}:${port}${address === host ? "" : ` (${address})`}`;
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => reject(new Error(`${name}: ${error.message || error.name}`, { cause: error }));
    let settle = () => {};
    const connection = connectionTo(endpoint, tls, {
      frame(reader) {
        settle();
        const reply = readConnectReply(reader);
        connection?.keep();
        // Authenticated before anything else can be sent, since what follows may need it.
        if (credentials !== undefined) connection?.send([authFrame("digest", credentials)]);
        if (connection !== null) resolve({ connection, ...reply });
      },
      drain() {},
      lost(error) {
        settle();
        fail(error);
      },
    });
    if (connection === null) return;
    const onAbort = () => connection.end(new Error("the client was closed"));
    const cancelTimer = clock.setTimer(() => {
      connection.end(new Error(`no answer within ${Math.round(timeoutMs)} ms`));
    }, timeoutMs);
    settle = () => {
      cancelTimer();
      signal.removeEventListener("abort", onAbort);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    connection.send([connectFrame(request)]);
  });
}

/**
 * Connects; null if the runtime refuses to, for example with a key that is not the certificate's: then it is lost
 * already.
 */
function connectionTo(endpoint: Endpoint, tls: TlsSettings | null, events: ConnectionEvents): Connection | null {
  try {
    return new Connection(endpoint, tls, events);
  } catch (error) {
    events.lost(error instanceof Error ? error : new Error(String(error)));
    return null;
  }
}
