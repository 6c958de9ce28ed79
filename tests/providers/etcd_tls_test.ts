/** The etcd provider by HTTPS, against a server that asks for client certificates. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { etcdProvider } from "../../providers/etcd.ts";
import { ProviderError } from "../../src/errors.ts";
import { backend } from "../servers/backend.ts";
import { etcdProgram } from "../servers/etcd.ts";
import { startTlsEtcd } from "../servers/etcd_tls.ts";
import { lose, request, soon, win } from "./asking.ts";
import { newGroup } from "./etcd/support.ts";

if (backend("etcd") !== null && await etcdProgram("etcd").catch(() => null) !== null) {
  test("etcd is reached by HTTPS with a client certificate, and by nothing less", async () => {
    const server = await startTlsEtcd();
    try {
      const files = `ca=${server.ca}&cert=${server.cert}&key=${server.key}`;
      await using provider = etcdProvider({ url: `${server.url}?${files}` });
      await provider.healthCheck(soon());
      const lease = await win(provider, request(newGroup()));
      assert.equal(await provider.renew(lease, soon()), "renewed");
      let hints = 0;
      for await (const _ of provider.watch?.(lease.electionGroup, soon()) ?? []) {
        if (hints++ > 0) break;
        await provider.release(lease, soon());
      }
      // By its address, too, and by a name that the certificate has, wherever the URL points.
      await using other = etcdProvider({ url: `${server.url.replace("localhost", "127.0.0.1")}?${files}` });
      const next = await win(other, request(lease.electionGroup));
      await using named = etcdProvider({ url: `${server.url}?${files}&servername=localhost` });
      await lose(named, request(next.electionGroup));

      for (
        const [what, url] of Object.entries({
          "no authority": server.url,
          "no certificate": `${server.url}?ca=${server.ca}`,
          "another name": `${server.url}?${files}&servername=example`,
          "no file": `${server.url}?${files.replace("client.pem", "missing.pem")}`,
          "no TLS": server.url.replace("+https", ""),
        })
      ) {
        await using bad = etcdProvider({ url });
        await assert.rejects(bad.healthCheck(soon()), ProviderError, what);
      }
    } finally {
      await server.stop();
    }
  });
}
