/** A real etcd that speaks HTTPS and asks for client certificates, with an authority of its own. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { startEtcd } from "./etcd.ts";
import { aptInstall, findProgram, removeDirectory, run, temporaryDirectory } from "./process.ts";
import type { TestServer } from "./server.ts";

/** What runs, and paths of its PEM files. */
export interface TlsEtcd extends TestServer {
  readonly ca: string;
  /** A certificate that the server accepts of clients, and its key. */
  readonly cert: string;
  readonly key: string;
}

/** Starts one. Its certificate is good for `localhost` and 127.0.0.1. */
export async function startTlsEtcd(): Promise<TlsEtcd> {
  if (await findProgram("openssl") === null) await aptInstall("openssl");
  const directory = await temporaryDirectory("etcd-tls");
  const at = (name: string) => join(directory, name);
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await run("openssl", [
    ...["req", "-x509", ...curve, "-days", "2", "-subj", "/CN=authority"],
    ...["-keyout", at("ca.key"), "-out", at("ca.pem")],
  ]);
  const names = "subjectAltName=DNS:localhost,IP:127.0.0.1";
  // The gateway is a client of its own server, by the server's certificate.
  for (
    const [name, more] of [["server", `${names}\nextendedKeyUsage=serverAuth,clientAuth`], ["client", ""]] as const
  ) {
    await writeFile(at(`${name}.ext`), `keyUsage=digitalSignature\n${more}\n`);
    await run("openssl", [
      ...["req", ...curve, "-subj", name === "server" ? "/O=etcd" : `/CN=${name}`],
      ...["-keyout", at(`${name}.key`), "-out", at(`${name}.csr`)],
    ]);
    await run("openssl", [
      ...["x509", "-req", "-in", at(`${name}.csr`), "-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial"],
      ...["-days", "2", "-extfile", at(`${name}.ext`), "-out", at(`${name}.pem`)],
    ]);
  }
  const server = await startEtcd({
    tls: true,
    args: [
      ...["--cert-file", at("server.pem"), "--key-file", at("server.key")],
      ...["--trusted-ca-file", at("ca.pem"), "--client-cert-auth"],
    ],
  });
  return {
    ...server,
    ca: at("ca.pem"),
    cert: at("client.pem"),
    key: at("client.key"),
    async stop() {
      await server.stop();
      await removeDirectory(directory);
    },
  };
}
