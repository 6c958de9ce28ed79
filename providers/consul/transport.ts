/**
 * The transport of requests to Consul.
 *
 * @module
 */

import { openConnections } from "../kit/http_agent.ts";
import { exchange, textOf } from "../kit/http_exchange.ts";
import type { TlsFiles } from "../kit/tls_files.ts";

/** The narrow part of `fetch` that is used. */
export type ConsulFetch = (url: string, init: {
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body?: string;
  readonly signal: AbortSignal;
}) => Promise<{
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  text(): Promise<string>;
}>;

/** A way to Consul, and how to close it. */
export interface Transport {
  readonly fetch: ConsulFetch;
  close(): void;
}

/**
 * Opens connections to Consul, without I/O.
 *
 * @param tls where to find certificates, for HTTPS; null for HTTP
 */
export function openTransport(tls: TlsFiles | null): Transport {
  const connections = openConnections(tls);
  return {
    async fetch(url, init) {
      const { status, headers, body } = await exchange(connections, new URL(url), init);
      const text = await textOf(body);
      return { status, headers, text: () => Promise.resolve(text) };
    },
    close: () => connections.close(),
  };
}
