/** What users of the Kubernetes provider may do: by roles, by certificates, and through `kubectl proxy`. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { kubernetesProvider } from "../../providers/kubernetes.ts";
import { ProviderError } from "../../src/errors.ts";
import type { Provider } from "../../src/provider.ts";
import type { KubernetesServer } from "../servers/kubernetes.ts";
import { request, soon, win } from "./asking.ts";
import { newGroup, Watch } from "./kubernetes/fixture.ts";
import { ownServer, urlFor } from "./kubernetes/own_server.ts";
import { until } from "../until.ts";

const LEASES = { apiGroups: ["coordination.k8s.io"], resources: ["leases"] };
const NEEDED = ["get", "create", "patch", "watch"];

const start = await ownServer();
if (start !== null) testRoles(start);

function testRoles(start: () => Promise<KubernetesServer>): void {
  async function open(...rules: Record<string, unknown>[]): Promise<Provider> {
    const server = await start();
    return kubernetesProvider({ url: urlFor(server, await server.user(rules)) });
  }

  /** The authorizer learns of a role a moment after it was made. */
  async function isKnown(call: () => Promise<unknown>): Promise<void> {
    await until("the role is in force", () => call().then(() => true, () => false));
  }

  async function refused(call: Promise<unknown>, verb: string): Promise<void> {
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof ProviderError && error.permanent, String(error));
      assert.match(error.message, new RegExp(`the role lacks (the verb )?"${verb}"`));
      return true;
    });
  }

  test("the role of the documentation is enough, and groups() needs one verb more", async () => {
    await using provider = await open({ ...LEASES, verbs: NEEDED });
    await isKnown(() => provider.healthCheck(soon()));
    const lease = await win(provider, request(newGroup()));
    const watch = new Watch(provider, lease.electionGroup);
    await until("it is watched", () => watch.hints > 0);
    assert.equal(await provider.renew(lease, soon()), "renewed");
    assert.equal(await provider.release(lease, soon()), "released");
    await watch.end();
    await refused(provider.groups?.(soon()) ?? Promise.resolve(), "list");
  });

  for (const missing of NEEDED) {
    test(`without the verb "${missing}", healthCheck() and what needs it say so`, async () => {
      await using whole = await open({ ...LEASES, verbs: NEEDED });
      await isKnown(() => whole.healthCheck(soon()));
      const lease = await win(whole, request(newGroup()));
      await using provider = await open({ ...LEASES, verbs: NEEDED.filter((verb) => verb !== missing) });
      await until("the role is in force", async () => {
        const why = await provider.healthCheck(soon()).catch(String);
        return new RegExp(`lacks (the verb )?"${missing}" on leases`).test(String(why));
      });
      if (missing === "get") await refused(provider.read(lease.electionGroup, soon()), missing);
      if (missing === "create") await refused(provider.acquire(request(newGroup()), soon()), missing);
      if (missing === "patch") await refused(provider.release(lease, soon()), missing);
      if (missing === "watch") {
        const watch = new Watch(provider, lease.electionGroup);
        await until("it is refused", () => /lacks the verb "watch"/.test(String(watch.failure)));
        await watch.end();
      }
      assert.equal(await whole.renew(lease, soon()), "renewed", "nobody else could do anything to it");
    });
  }

  test("a role may be limited to the groups by name, all but for create", async () => {
    const [group, other] = [newGroup(), newGroup()];
    await using provider = await open(
      { ...LEASES, verbs: ["get", "patch", "watch"], resourceNames: [group] },
      { ...LEASES, verbs: ["create"] },
    );
    await isKnown(() => provider.healthCheck(soon()));
    const lease = await win(provider, request(group));
    const watch = new Watch(provider, group);
    await until("it is watched", () => watch.hints > 0);
    const seen = watch.hints;
    assert.equal(await provider.release(lease, soon()), "released");
    await until("the release is seen", () => watch.hints > seen);
    await watch.end();
    await refused(provider.read(other, soon()), "get");
  });

  test("healthCheck() says that there is no such namespace, and writes nothing", async () => {
    const server = await start();
    const { ca, cert, key } = server.files;
    const url = `k8s://${server.address}/nowhere?ca=${ca}&cert=${cert}&key=${key}`;
    await using lost = kubernetesProvider({ url });
    await assert.rejects(lost.healthCheck(soon()), /no namespace "nowhere"/);
    await assert.rejects(lost.acquire(request(newGroup()), soon()), /no such namespace/);
    const path = "/apis/coordination.k8s.io/v1/namespaces/elections/leases";
    const before = await server.ask("GET", path);
    await using provider = kubernetesProvider({ url: server.url });
    await provider.healthCheck(soon());
    assert.equal((await server.ask("GET", path)).json.items.length, before.json.items.length);
  });

  test("a certificate will do instead of a token, by name and by address", async () => {
    const server = await start();
    const { ca, cert, key } = server.files;
    for (const address of [server.address, server.address.replace("127.0.0.1", "localhost")]) {
      await using provider = kubernetesProvider({ url: `k8s://${address}/elections?ca=${ca}&cert=${cert}&key=${key}` });
      await provider.healthCheck(soon());
      const lease = await win(provider, request(newGroup()));
      assert.equal(await provider.release(lease, soon()), "released");
    }
    const refused: readonly [string, RegExp][] = [
      ["", /certificate|issuer/i],
      [`?ca=${ca}`, /403 Forbidden: .*anonymous/],
      [`?ca=${ca}&cert=${cert}&key=${key}&servername=elsewhere.example`, /elsewhere|altname|NotValidForName/i],
      [`?ca=${ca}.gone`, /setting "ca"/],
    ];
    for (const [query, why] of refused) {
      await using provider = kubernetesProvider({ url: `k8s://${server.address}/elections${query}` });
      await assert.rejects(provider.read("g", soon()), (error) => {
        assert.ok(error instanceof ProviderError);
        assert.match(error.message, why, query);
        return true;
      });
    }
  });

  test("a Lease that is deleted ends its term, and the next one has a larger token", async () => {
    const server = await start();
    await using provider = kubernetesProvider({ url: server.url });
    const lease = await win(provider, request(newGroup()));
    const watch = new Watch(provider, lease.electionGroup);
    await until("it is watched", () => watch.hints > 1);
    await server.ask("DELETE", `/apis/coordination.k8s.io/v1/namespaces/elections/leases/${lease.electionGroup}`);
    await until("the deletion is seen", () => watch.hints > 2);
    assert.equal(await provider.renew(lease, soon()), "lost");
    assert.equal(await provider.read(lease.electionGroup, soon()), null);
    assert.ok((await win(provider, request(lease.electionGroup))).token > lease.token);
    await watch.end();
  });
}
