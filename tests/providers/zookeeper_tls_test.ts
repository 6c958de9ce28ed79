/** The ZooKeeper provider by TLS, against a real server that asks for a client certificate. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { copyFile } from "node:fs/promises";
import { after, test } from "node:test";
import { zookeeperProvider } from "../../providers/zookeeper.ts";
import { ZooKeeperClient } from "../../providers/zookeeper/client.ts";
import { systemClock } from "../../src/time/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import { openProvider } from "../../src/registry.ts";
import { backend } from "../servers/backend.ts";
import { startTlsZooKeeper, type TlsServer } from "../servers/zookeeper_tls.ts";

if (backend("zookeeper") !== null) {
  const server = await startTlsZooKeeper();
  after(() => server.stop());
  tlsTests(server);
}

const soon = () => ({ signal: AbortSignal.timeout(20_000) });

function tlsTests({ securePort, files }: TlsServer): void {
  const urlOf = (settings: Readonly<Record<string, string>>) => {
    return `zookeeper+tls://127.0.0.1:${securePort}/elections?${new URLSearchParams(settings)}`;
  };

  test("zookeeper+tls: elects, with the authority and the client certificate of its URL", async () => {
    await using provider = await openProvider(urlOf(files));
    await using other = zookeeperProvider({ url: urlOf(files) });
    await provider.healthCheck(soon());
    assert.match((await provider.inspect?.(soon()))?.version ?? "", /^3\.\d+\.\d+$/);
    const electionGroup = `tls-${randomUUID()}`;
    const metadata = { long: "x".repeat(20_000) };
    const request = { electionGroup, participantId: "p", termId: randomUUID(), heartbeatTimeout: 10_000, metadata };
    const answer = await provider.acquire(request, soon());
    assert.ok(answer.acquired);
    const seen = await other.read(electionGroup, soon());
    assert.deepEqual(
      [seen?.termId, seen?.metadata],
      [request.termId, metadata],
      "what is written aside is encrypted too",
    );
    assert.equal(await provider.renew(answer.lease, soon()), "renewed");
    assert.equal(await provider.release(answer.lease, soon()), "released");
  });

  test("zookeeper+tls: takes the server for who its certificate names, or `servername` where that is given", async () => {
    await using named = zookeeperProvider({ url: urlOf({ ...files, servername: "zk.test" }) });
    await named.healthCheck(soon());
    await using other = zookeeperProvider({ url: urlOf({ ...files, servername: "other.test" }) });
    await assert.rejects(
      other.healthCheck(soon()),
      (error) => error instanceof ProviderError && /altnames/.test(error.message),
    );
  });

  test("ZooKeeperClient asks for the certificate of the name, when it connects to one of its addresses", async () => {
    for (const [host, isTrusted] of [["zk.test", true], ["other.test", false]] as const) {
      const client = new ZooKeeperClient({
        servers: [{ host, port: securePort }],
        sessionTimeout: 10_000,
        tls: files,
        clock: systemClock,
        resolve: () => Promise.resolve(["127.0.0.1", "127.0.0.1", "::1"]),
      });
      const connected = client.connected().then(() => true, () => false);
      assert.equal(await connected, isTrusted, host);
      await client.close();
    }
  });

  test("zookeeper+tls: is refused, without the authority, without a certificate, and where nobody speaks TLS", async () => {
    const { ca, cert, key } = files;
    for (const settings of [{ cert, key }, { ca }, { ca, cert: ca, key }]) {
      await using provider = zookeeperProvider({ url: urlOf(settings) });
      await assert.rejects(provider.healthCheck(soon()), ProviderError);
    }
    await using plain = zookeeperProvider({ url: urlOf({}).replace("+tls", "").replace(/\?.*/, "") });
    await assert.rejects(plain.healthCheck(soon()), ProviderError, "not encrypted");
  });

  test("zookeeper+tls: names the setting and the file, when it cannot be read, and reads it again for each connection", async () => {
    const late = `${files.ca}.late`;
    await using provider = zookeeperProvider({ url: urlOf({ ...files, ca: late }) });
    await assert.rejects(provider.healthCheck(soon()), /file of setting "ca".*\.late/);
    await copyFile(files.ca, late);
    await provider.healthCheck(soon());
  });
}
