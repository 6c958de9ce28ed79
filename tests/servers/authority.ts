/** Certificates for the servers and clients of the tests, signed by an authority of their own. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "./process.ts";

/** Paths of PEM files. */
export interface Authority {
  readonly ca: string;
  readonly server: { readonly cert: string; readonly key: string };
  readonly client: { readonly cert: string; readonly key: string };
}

/** Makes them in `directory`. The certificate of the server is good for `names`, such as `IP:127.0.0.1`. */
export async function makeAuthority(directory: string, names: string): Promise<Authority> {
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
  const pair = (name: string) => ({ cert: at(`${name}.pem`), key: at(`${name}.key`) });
  return { ca: at("ca.pem"), server: pair("server"), client: pair("client") };
}
