/** A ZooKeeper server that takes connections by TLS, from clients with a certificate of the same authority. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { aptInstall, findProgram, freePort, run, temporaryDirectory } from "./process.ts";
import type { TestServer } from "./server.ts";
import { startZooKeeper } from "./zookeeper.ts";

/** A server that also speaks TLS, and the files to reach it. */
export interface TlsServer extends TestServer {
  /** Where it speaks TLS, on 127.0.0.1: its certificate has that address, and the name `zk.test`. */
  readonly securePort: number;
  /** PEM files: the authority, and the client's certificate and key. */
  readonly files: { readonly ca: string; readonly cert: string; readonly key: string };
}

/** Starts one. It refuses clients without a certificate. */
export async function startTlsZooKeeper(): Promise<TlsServer> {
  const openssl = await findProgram("openssl") ?? await installed();
  const directory = await temporaryDirectory("zookeeper-tls");
  const ssl = (...args: readonly string[]) => run(openssl, args, { cwd: directory });
  const path = (name: string) => join(directory, name);
  const newKey = ["-newkey", "rsa:2048", "-nodes"];
  await ssl(
    "req",
    "-x509",
    ...newKey,
    "-subj",
    "/CN=test authority",
    "-days",
    "2",
    "-keyout",
    "ca.key",
    "-out",
    "ca.pem",
  );
  for (const name of ["server", "client"]) {
    await writeFile(path(`${name}.ext`), "subjectAltName=DNS:zk.test,IP:127.0.0.1\n");
    await ssl("req", ...newKey, "-subj", `/CN=${name}`, "-keyout", `${name}.key`, "-out", `${name}.csr`);
    const signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", `${name}.ext`];
    await ssl("x509", "-req", "-in", `${name}.csr`, ...signed, "-out", `${name}.pem`);
  }
  await run("sh", ["-c", "cat server.key server.pem > store.pem"], { cwd: directory });
  const securePort = await freePort();
  const server = await startZooKeeper({
    directory,
    settings: [
      ...[`secureClientPort=${securePort}`, "secureClientPortAddress=127.0.0.1"],
      "serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory",
      ...[`ssl.keyStore.location=${path("store.pem")}`, "ssl.keyStore.type=PEM"],
      ...[`ssl.trustStore.location=${path("ca.pem")}`, "ssl.trustStore.type=PEM"],
      // The server's own check of the host name that the client's address resolves to would only test the machine.
      ...["ssl.clientAuth=need", "ssl.clientHostnameVerification=false", "ssl.hostnameVerification=false"],
    ],
  });
  return { ...server, securePort, files: { ca: path("ca.pem"), cert: path("client.pem"), key: path("client.key") } };
}

async function installed(): Promise<string> {
  await aptInstall("openssl");
  return "openssl";
}
