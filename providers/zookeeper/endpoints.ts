/**
 * The addresses at which an ensemble may be reached, in the order in which to try them.
 *
 * @module
 */

import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { type Clock, sleep } from "../../src/time/clock.ts";

/** Where a server listens. */
export interface Server {
  /** Its host name or address. */
  readonly host: string;
  /** Its port. */
  readonly port: number;
}

/** One address of a server. */
export interface Endpoint extends Server {
  /** Its address, or its name where the runtime is to resolve it. */
  readonly address: string;
  /** Of a name the first address of this family, 4 or 6. */
  readonly family?: number | undefined;
}

/** Returns the addresses of a host name. */
export type Resolve = (host: string) => Promise<readonly string[]>;

/** A name that is not resolved within this time, in milliseconds, is left to the runtime. */
const RESOLVE_MS = 1_000;

/** The servers of one session. */
export class Endpoints {
  readonly #servers: readonly Server[];
  readonly #clock: Clock;
  readonly #resolve: Resolve;
  /** Endpoints that could not be reached when they were last tried. */
  readonly #failed = new Set<string>();
  #last: string | null = null;

  constructor(servers: readonly Server[], clock: Clock, resolve: Resolve = resolveHost) {
    this.#servers = servers;
    this.#clock = clock;
    this.#resolve = resolve;
  }

  /**
   * Lists every address, once: the one that was used last comes last of all that work, those that failed come after
   * them. Names are resolved each time, since servers move. A name with several addresses counts as several servers: a
   * runtime that is given the name alone may try the first and no other (Deno), and knows nothing of how long a session
   * lasts.
   */
  async inTurn(signal: AbortSignal): Promise<readonly Endpoint[]> {
    const found = (await Promise.all(this.#servers.map((server) => this.#expand(server, signal)))).flat();
    const next = found.findIndex((each) => keyOf(each) === this.#last) + 1;
    const rotated = [...found.slice(next), ...found.slice(0, next)];
    return [
      ...rotated.filter((each) => !this.#failed.has(keyOf(each))),
      ...rotated.filter((each) => this.#failed.has(keyOf(each))),
    ];
  }

  /** Takes note that the session is attached to `endpoint` now. */
  attached(endpoint: Endpoint): void {
    this.#last = keyOf(endpoint);
    this.#failed.delete(this.#last);
  }

  /** Takes note that `endpoint` could not be reached. */
  failed(endpoint: Endpoint): void {
    // Addresses that come and go must not pile up.
    if (this.#failed.size >= MAX_REMEMBERED) this.#failed.clear();
    this.#failed.add(keyOf(endpoint));
  }

  async #expand(server: Server, signal: AbortSignal): Promise<readonly Endpoint[]> {
    const byName = [{ ...server, address: server.host }];
    if (isIP(server.host) !== 0) return byName;
    const bound = new AbortController();
    try {
      const addresses = await Promise.race([
        this.#resolve(server.host),
        sleep(this.#clock, RESOLVE_MS, AbortSignal.any([signal, bound.signal])).then(() => []),
      ]);
      const distinct = [...new Set(addresses)];
      return distinct.length < 2 ? byName : distinct.map((address) => ({ ...server, address }));
    } catch {
      // Deno, for example, may connect to a name that it may not look up. Whatever it is, connecting says it again.
      return byName;
    } finally {
      bound.abort();
    }
  }
}

const MAX_REMEMBERED = 1_000;

/** Resolves as the system does, with its own order. */
export async function resolveHost(host: string): Promise<readonly string[]> {
  return (await lookup(host, { all: true })).map(({ address }) => address);
}

function keyOf({ address, port }: Endpoint): string {
  return `${address} ${port}`;
}
