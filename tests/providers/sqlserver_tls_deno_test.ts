// deno-lint-ignore-file camelcase -- columns are named as the server names them
/** The SQL Server provider over TLS, with certificates of its own making. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { sqlserverProvider } from "../../providers/sqlserver.ts";
import { findProgram, removeDirectory, run, temporaryDirectory } from "../servers/process.ts";
import { refusedToAll } from "./refused.ts";
import { startTdsServer } from "./sqlserver/tds_server.ts";

const soon = () => ({ signal: AbortSignal.timeout(10_000) });
const options = { sanitizeOps: false, sanitizeResources: false };
const row = {
  participant_id: "p",
  term_id: "t",
  token: 1n,
  acquired_at: 0n,
  heartbeat_at: 0n,
  version: 1n,
  lease_ms: 1_000n,
  server_now: 0n,
  metadata: "{}",
  expires_in: 1_000n,
};

for (const first of [false, true]) {
  Deno.test(
    `a certificate's authority is a setting, when TLS comes ${first ? "before" : "in"} TDS`,
    options,
    async () => {
      const openssl = await findProgram("openssl");
      if (openssl === null) return console.error("SKIPPED: the SQL Server provider over TLS: there is no openssl");
      const directory = await temporaryDirectory("sqlserver-tls");
      const [key, cert] = [`${directory}/key.pem`, `${directory}/cert.pem`];
      const form = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
      const subject = ["-subj", "/CN=db.test", "-addext", "subjectAltName=DNS:db.test,IP:127.0.0.1,DNS:localhost"];
      await run(openssl, ["req", ...form, ...subject, "-keyout", key, "-out", cert]);
      const tls = { first, key: await readFile(key), cert: await readFile(cert) };
      const server = await startTdsServer(Array.from({ length: 20 }, () => row), { tls });
      const encrypt = first ? "strict" : "true";
      const read = async (target: string) => {
        await using provider = sqlserverProvider({ url: target });
        return (await provider.read("g", soon()))?.termId;
      };
      try {
        const trusted = `encrypt=${encrypt}&ca=${encodeURIComponent(cert)}`;
        assert.equal(await read(`sqlserver://127.0.0.1:${server.port}/d?${trusted}`), "t", "by address");
        assert.equal(await read(`sqlserver://localhost:${server.port}/d?${trusted}`), "t", "by name");
        assert.equal(await read(`sqlserver://127.0.0.1:${server.port}/d?${trusted}&servername=db.test`), "t");
        assert.equal(await read(`Server=127.0.0.1,${server.port};Encrypt=${encrypt};CA=${cert}`), "t");
        await assert.rejects(
          read(`sqlserver://127.0.0.1:${server.port}/d?${trusted}&servername=other.test`),
          /127\.0\.0\.1/,
        );
        await assert.rejects(read(`sqlserver://127.0.0.1:${server.port}/d?encrypt=${encrypt}`), /127\.0\.0\.1/);
        const missing = `sqlserver://127.0.0.1:${server.port}/d?encrypt=${encrypt}&ca=${directory}/none.pem`;
        await assert.rejects(read(missing), /cannot read the file of setting "ca"/);
        // Nobody waits for another certificate.
        const untrusted = `sqlserver://127.0.0.1:${server.port}/d?encrypt=${encrypt}`;
        await refusedToAll(untrusted, /certificate/);
        await refusedToAll(`${untrusted}&ca=${encodeURIComponent(cert)}&servername=other.test`, /127\.0\.0\.1/);
      } finally {
        server.close();
        await removeDirectory(directory);
      }
    },
  );
}
