/**
 * The driver, `ioredis`, with everything off that would send a command late or twice, send one that nobody checks, or
 * change an answer. What remains of it is a socket and the protocol.
 *
 * @module
 */

import type { Socket } from "node:net";
import { dial } from "../kit/dial.ts";
import { loadDriver } from "../kit/driver.ts";
import { secure } from "../kit/secure.ts";
import { readTlsFiles, type TlsFiles, type TlsSettings } from "../kit/tls_files.ts";
import type { Address } from "./target.ts";

/** The part of a client of the driver that is used. */
export interface DriverClient {
  readonly status: string;
  readonly stream?: DriverStream;
  call(command: string, ...args: (string | number)[]): Promise<unknown>;
  connect(): Promise<unknown>;
  disconnect(): void;
  on(event: string, listener: (...args: unknown[]) => void): unknown;
}

/** The part of its socket that is used. */
export interface DriverStream {
  cork?(): void;
  uncork?(): void;
  destroy(): void;
  on(event: "data", listener: () => void): unknown;
}

/** Makes a client that has not connected yet. */
export type MakeClient = (address: Address) => Promise<DriverClient>;

/** The settings of TLS, as `tls.connect` of `node:tls` takes it. */
export interface RedisTls {
  /** Certificate authorities to trust instead of the runtime's, as PEM. */
  readonly ca?: string | string[];
  /** The client's certificate chain, as PEM. */
  readonly cert?: string;
  /** The client's private key, as PEM. */
  readonly key?: string;
  /** The name that the server's certificate must have. @default the host that is connected to */
  readonly servername?: string;
  /** True to refuse a server whose certificate is not trusted. @default true */
  readonly rejectUnauthorized?: boolean;
}

/** The settings that the connections of a provider have in common. */
export interface DriverSettings {
  /** TLS as files and as an object, which goes before; null without TLS. */
  readonly tls: { readonly files: TlsFiles; readonly options: object } | null;
  /**
   * Settings of sockets that come from a client of the user's: `path`, `family`, `keepAlive`, `noDelay`, `Connector`.
   */
  readonly socket: Readonly<Record<string, unknown>>;
}

/** Returns a function that makes clients. It loads the driver when it is first called. */
export function clientMaker({ tls, socket }: DriverSettings): MakeClient {
  return async ({ host, port }) => {
    const security: TlsSettings & object = tls === null ? {} : { ...await readTlsFiles(tls.files), ...tls.options };
    const { Redis } = await loadDriver<typeof import("ioredis")>(
      "ioredis",
      () => import("ioredis"),
      () => import("npm:ioredis@^6"),
    );
    const connector: object = socket["Connector"] || socket["path"] ? {} : { Connector: Dialer };
    const settings = { ...socket, ...connector, host, port, ...(tls !== null && { tls: security }), ...SAFE };
    return new Redis(settings) as unknown as DriverClient;
  };
}

/** The part of its client's settings that a connector is told. */
interface ConnectorSettings {
  readonly host: string;
  readonly port: number;
  readonly family?: number | null;
  readonly tls?: TlsSettings;
}

/**
 * Connects a client, in the place of the driver's own connector. That one leaves the choice among the addresses of a
 * name to the runtime, and Deno ends the process where one of several is not among its permissions.
 */
class Dialer {
  /** The driver asks for it where a stream has ended before it could listen. */
  firstError: unknown;
  readonly #settings: ConnectorSettings;
  readonly #end = new AbortController();
  #stream: Socket | null = null;

  constructor(settings: ConnectorSettings) {
    this.#settings = settings;
  }

  /** Returns a stream on which commands can be sent. */
  async connect(): Promise<Socket> {
    const { host, port, family, tls } = this.#settings;
    const { signal } = this.#end;
    const socket = await dial({ host, port, family: family || undefined }, signal);
    const stream = tls ? await secure(socket, host, tls, signal) : socket;
    if (signal.aborted) stream.destroy();
    signal.throwIfAborted();
    stream.once("error", (error) => this.firstError = error);
    return this.#stream = stream;
  }

  /** Which server is there is looked at in `link.ts`. */
  check(): boolean {
    return true;
  }

  /** Ends the stream, and the attempts to make one. */
  disconnect(): void {
    this.#end.abort(new Error("the connection was closed"));
    this.#stream?.destroy();
  }
}

/** The driver's own defaults repeat, queue and reconnect. Each of these that is missing may write a lease late. */
const SAFE = {
  lazyConnect: true,
  // The check asks for INFO, which not every user may. A server that still loads its data says so to each call.
  enableReadyCheck: false,
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  maxRetriesPerRequest: 0,
  retryStrategy: () => null,
  // The time that a connection may take is counted once, over all its steps.
  connectTimeout: 0,
  disconnectTimeout: 200,
  // The driver swallows refusals of AUTH, SELECT and CLIENT: they are sent, and their answers looked at, in `link.ts`.
  db: 0,
  disableClientInfo: true,
  protocol: 2,
} as const;
