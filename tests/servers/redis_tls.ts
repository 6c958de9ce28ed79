/** A real Redis that speaks TLS and asks for client certificates, with an authority of its own. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { removeDirectory, run, temporaryDirectory } from "./process.ts";
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
  const at = (name: string) => join(directory, name);
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await run("openssl", [
    ...["req", "-x509", ...curve, "-days", "2", "-subj", "/CN=authority"],
    ...["-keyout", at("ca.key"), "-out", at("ca.pem")],
  ]);
  for (const [name, extension] of [["server", `subjectAltName=${names}`], ["client", "keyUsage=digitalSignature"]]) {
    await writeFile(at(`${name}.ext`), `${extension}\n`);
    const request = ["-keyout", at(`${name}.key`), "-out", at(`${name}.csr`)];
    await run("openssl", ["req", ...curve, "-subj", `/CN=${name}`, ...request]);
    await run("openssl", [
      ...["x509", "-req", "-in", at(`${name}.csr`), "-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial"],
      ...["-days", "2", "-extfile", at(`${name}.ext`), "-out", at(`${name}.pem`)],
    ]);
  }
  const args = [
    ...["--tls-cert-file", at("server.pem"), "--tls-key-file", at("server.key"), "--tls-ca-cert-file", at("ca.pem")],
    ...["--tls-auth-clients", asksForCertificates ? "yes" : "no"],
  ];
  const server = await startRedis({ args, tls: true });
  return {
    ...server,
    port: Number(new URL(server.url).port),
    ca: at("ca.pem"),
    cert: at("client.pem"),
    key: at("client.key"),
    async stop() {
      await server.stop();
      await removeDirectory(directory);
    },
  };
}
