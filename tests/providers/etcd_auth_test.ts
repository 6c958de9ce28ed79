/** The etcd provider against a server with users and roles. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { etcdProvider } from "../../providers/etcd.ts";
import { ProviderError } from "../../src/errors.ts";
import { backend } from "../servers/backend.ts";
import { etcdProgram, startEtcd } from "../servers/etcd.ts";
import type { TestServer } from "../servers/server.ts";
import { lose, request, soon, win } from "./asking.ts";
import { enableAuth, type Etcdctl } from "./etcd/auth.ts";
import { newGroup } from "./etcd/support.ts";
import { until } from "../until.ts";

const isThere = backend("etcd") !== null && await etcdProgram("etcd").catch(() => null) !== null;

function authTest(
  name: string,
  work: (server: TestServer, as: (user: string) => string, etcdctl: Etcdctl) => Promise<void>,
): void {
  for (const version of ["3.4", "3.5"] as const) {
    if (!isThere) continue;
    test(`${name} (etcd ${version})`, async () => {
      const server = await startEtcd({ version });
      try {
        const etcdctl = await enableAuth(server, version);
        await work(server, (user) => server.url.replace("//", `//${user}@`), etcdctl);
      } finally {
        await server.stop();
      }
    });
  }
}

async function refused(call: Promise<unknown>, why: RegExp, permanent = true): Promise<void> {
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof ProviderError, `not an error of ours: ${error}`);
    assert.match(error.message, why);
    assert.equal(error.permanent, permanent, error.message);
    assert.doesNotMatch(JSON.stringify([error.message, String(error.cause)]), /hunter|root-secret/);
    return true;
  });
}

authTest("a user may elect below the prefix, and errors say what one may not", async (server, as) => {
  await using allowed = etcdProvider({ url: as("elect:hunter%252") });
  await allowed.healthCheck(soon());
  const lease = await win(allowed, request(newGroup()));
  assert.equal(await allowed.renew(lease, { ...soon(), metadata: { a: "1" } }), "renewed");
  assert.deepEqual(await allowed.groups?.(soon()), [lease.electionGroup]);
  for await (const _ of allowed.watch?.(lease.electionGroup, soon()) ?? []) break;

  await using reader = etcdProvider({ url: as("reader:hunter%252") });
  assert.equal((await reader.read(lease.electionGroup, soon()))?.termId, lease.termId);
  await refused(reader.healthCheck(soon()), /permission denied/);
  await refused(reader.acquire(request(newGroup()), soon()), /permission denied/);
  await refused(reader.release(lease, soon()), /permission denied/);

  await using stranger = etcdProvider({ url: server.url });
  await refused(stranger.healthCheck(soon()), /user name is empty/);
  await using elsewhere = etcdProvider({ url: `${as("elect:hunter%252")}/other` });
  await refused(elsewhere.healthCheck(soon()), /permission denied/);
  const watching = (async () => {
    for await (const _ of elsewhere.watch?.("g", soon()) ?? []) break;
  })();
  await refused(watching, /permission denied/, false);
  await using wrong = etcdProvider({ url: as("elect:hunter") });
  await refused(wrong.healthCheck(soon()), /authentication failed/);
  assert.equal(await allowed.renew(lease, soon()), "renewed", "nobody else could do anything to it");
});

authTest("a watch gets another token, when the cluster has forgotten its own", async (_, as, etcdctl) => {
  await using provider = etcdProvider({ url: as("elect:hunter%252") });
  const look = async () => {
    for await (const _ of provider.watch?.("g", soon()) ?? []) return true;
    return false;
  };
  assert.ok(await look());
  await etcdctl("--user=root:root-secret", "auth", "disable");
  await etcdctl("auth", "enable");
  // A watch with an old token is denied, as one without the right to watch is.
  await until("it is live again", () => look().catch(() => false), 8_000);
});

authTest("a token that the cluster has forgotten is replaced within the call", async (_, as, etcdctl) => {
  await using provider = etcdProvider({ url: as("elect:hunter%252") });
  const lease = await win(provider, request(newGroup(), { heartbeatTimeout: 60_000 }));
  await etcdctl("--user=root:root-secret", "auth", "disable");
  await etcdctl("auth", "enable");
  const answers = await Promise.all([1, 2, 3].map(() => provider.renew(lease, soon())));
  assert.deepEqual(answers, ["renewed", "renewed", "renewed"]);
  await lose(etcdProvider({ url: as("elect:hunter%252") }), request(lease.electionGroup));
});

authTest("tokens that died with the server are replaced within the call", async (server, as) => {
  await using provider = etcdProvider({ url: as("elect:hunter%252") });
  const lease = await win(provider, request(newGroup(), { heartbeatTimeout: 60_000 }));
  await server.kill();
  await server.restart();
  assert.equal(await provider.renew(lease, soon()), "renewed");
  assert.equal((await provider.read(lease.electionGroup, soon()))?.token, lease.token);
});

if (isThere) {
  test("credentials are not needed where the cluster has no users, and harm nobody", async () => {
    const server = await startEtcd();
    try {
      await using provider = etcdProvider({ url: server.url.replace("//", "//elect:hunter@") });
      await win(provider, request(newGroup()));
      await enableAuth(server, "3.4");
      await refused(provider.healthCheck(soon()), /authentication failed/);
    } finally {
      await server.stop();
    }
  });
}
