/** A real Redis that speaks TLS and asks for client certificates, with an authority of its own. */

import { makeAuthority } from "./authority.ts";
import { removeDirectory, temporaryDirectory } from "./process.ts";
import { startRedis } from "./redis.ts";
import type { TestServer } from "./server.ts";

/** What runs, and paths of its PEM files. */
export interface TlsRedis extends TestServer {
  readonly port: number;
  readonly ca: string;
  /** A certificate that the server accepts of clients, and its key. */
  readonly cert: string;
  readonly key: string;
}

/** Starts one. Its certificate is good for `names`, such as `IP:127.0.0.1`. */
export async function startTlsRedis(names: string, asksForCertificates = true): Promise<TlsRedis> {
  const directory = await temporaryDirectory("redis-tls");
  const { ca, server: own, client } = await makeAuthority(directory, names);
  const args = [
    ...["--tls-cert-file", own.cert, "--tls-key-file", own.key, "--tls-ca-cert-file", ca],
    ...["--tls-auth-clients", asksForCertificates ? "yes" : "no"],
  ];
  const server = await startRedis({ args, tls: true });
  return {
    ...server,
    port: Number(new URL(server.url).port),
    ca,
    ...client,
    async stop() {
      await server.stop();
      await removeDirectory(directory);
    },
  };
}
