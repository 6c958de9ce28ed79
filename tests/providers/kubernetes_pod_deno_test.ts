/**
 * The Kubernetes provider as it is deployed: in a pod, whose files are there in a namespace of mounts, which takes root
 * on Linux; by `kubectl proxy`; and by `elect run`, across processes.
 */

import assert from "node:assert/strict";
import { kubernetesProvider } from "../../providers/kubernetes.ts";
import { elect, eventually, type Running, start as startElect } from "../cli/elect.ts";
import { PERMISSIONS } from "../permissions.ts";
import { cacheDirectory, fillCache, unpackDebian } from "../servers/debian.ts";
import type { KubernetesServer } from "../servers/kubernetes.ts";
import { findProgram, freePort, startProcess } from "../servers/process.ts";
import { request, soon, win } from "./asking.ts";
import { newGroup, Watch } from "./kubernetes/fixture.ts";
import { ownServer } from "./kubernetes/own_server.ts";
import { until } from "../until.ts";

const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";
/** Puts the directory that it is given where a pod has its account, and runs the rest. */
const SHELL = `
  mount -t tmpfs tmpfs "$(realpath /var/run)" && mkdir -p ${ACCOUNT} && mount --bind "$1" ${ACCOUNT} && shift && exec "$@"
`;
const canIsolate = Deno.build.os === "linux" && Deno.uid() === 0 &&
  await new Deno.Command("unshare", { args: ["-m", "true"], stdout: "null", stderr: "null" }).output()
    .then(({ success }) => success, () => false);

const SCRIPT = `
import { openProvider } from ${JSON.stringify(import.meta.resolve("../../mod.ts"))};
import ${JSON.stringify(import.meta.resolve("../../providers/kubernetes.ts"))};
const provider = await openProvider("k8s:///");
const soon = () => ({ signal: AbortSignal.timeout(20_000) });
await provider.healthCheck(soon());
const [electionGroup, termId, count] = Deno.args;
const asked = { electionGroup, termId, participantId: "pod", heartbeatTimeout: 60_000, metadata: {} };
const answer = await provider.acquire(asked, soon());
console.log("acquired", answer.acquired);
for (let i = 0; i < Number(count); i++) {
  console.log(await provider.renew(answer.lease, soon()));
  await new Promise((resolve) => setTimeout(resolve, 250));
}
await provider[Symbol.asyncDispose]();
`;

const start = await ownServer();
if (start !== null) testDeployed(start);

/** The files of a service account, as the kubelet lays them out: it replaces all of them in one step, by a link. */
class Account {
  readonly directory: string;
  readonly #server: KubernetesServer;
  #count = 0;

  constructor(server: KubernetesServer) {
    this.directory = `${server.directory}/account-${crypto.randomUUID()}`;
    this.#server = server;
  }

  async issue(): Promise<void> {
    const { ask, files } = this.#server;
    const path = "/api/v1/namespaces/elections/serviceaccounts";
    const account = { metadata: { name: "billing" } };
    // Another account of the same name: the tokens of the first are refused from then on.
    await ask("DELETE", `${path}/billing`);
    assert.equal((await ask("POST", path, account)).status, 201);
    const issued = await ask("POST", `${path}/billing/token`, { spec: { expirationSeconds: 3_600 } });
    assert.equal(issued.status, 201, JSON.stringify(issued.json));
    const name = `..data-${this.#count++}`;
    await Deno.mkdir(`${this.directory}/${name}`, { recursive: true });
    await Deno.writeTextFile(`${this.directory}/${name}/token`, issued.json.status.token);
    await Deno.writeTextFile(`${this.directory}/${name}/namespace`, "elections");
    await Deno.copyFile(files.ca, `${this.directory}/${name}/ca.crt`);
    if (this.#count === 1) {
      for (const file of ["token", "namespace", "ca.crt"]) {
        await Deno.symlink(`..data/${file}`, `${this.directory}/${file}`);
      }
    }
    await Deno.symlink(name, `${this.directory}/..new`);
    await Deno.rename(`${this.directory}/..new`, `${this.directory}/..data`);
  }

  async allow(): Promise<void> {
    const path = "/apis/rbac.authorization.k8s.io/v1/namespaces/elections";
    const rules = [{
      apiGroups: ["coordination.k8s.io"],
      resources: ["leases"],
      verbs: ["get", "create", "patch", "watch"],
    }];
    const [metadata, api] = [{ name: "billing" }, "rbac.authorization.k8s.io"];
    await this.#server.ask("POST", `${path}/roles`, { metadata, rules });
    await this.#server.ask("POST", `${path}/rolebindings`, {
      ...{ metadata, roleRef: { apiGroup: api, kind: "Role", name: "billing" } },
      subjects: [{ kind: "ServiceAccount", name: "billing", namespace: "elections" }],
    });
  }
}

function testDeployed(start: () => Promise<KubernetesServer>): void {
  Deno.test({
    name: "in a pod, the account's files are enough, and a token that is replaced costs no heartbeat",
    ignore: !canIsolate,
    async fn() {
      const server = await start();
      const account = new Account(server);
      await account.allow();
      await account.issue();
      const [host, port] = server.address.split(":");
      const flags = (PERMISSIONS.kubernetes ?? [])
        .map((flag) => flag.replace("HOST:PORT", server.address).replace("FILES", ACCOUNT));
      const script = `${account.directory}/main.ts`;
      await Deno.writeTextFile(script, SCRIPT);
      const config = new URL("../../deno.json", import.meta.url).pathname;
      const run = ["run", "--no-prompt", "--no-check", ...flags, `--config=${config}`, script];
      const group = newGroup();
      const child = new Deno.Command("unshare", {
        args: ["-m", "sh", "-ec", SHELL, "sh", account.directory, Deno.execPath(), ...run, group, "t", "80"],
        env: { KUBERNETES_SERVICE_HOST: host ?? "", KUBERNETES_SERVICE_PORT: port ?? "", NO_COLOR: "1" },
        stdout: "piped",
        stderr: "piped",
      }).spawn();
      await using admin = kubernetesProvider({ url: server.url });
      // The server believes a token for ten seconds after it has seen it. The script renews for twenty.
      await until("the pod leads", async () => (await admin.read(group, soon()))?.leaderId === "pod");
      await account.issue();
      const { stdout, stderr } = await child.output();
      const lines = new TextDecoder().decode(stdout).trim().split("\n");
      assert.deepEqual([...new Set(lines)], ["acquired true", "renewed"], new TextDecoder().decode(stderr));
      assert.equal(lines.length, 81);
    },
  });

  Deno.test("kubectl proxy is a way to the server, and carries watches", async () => {
    const server = await start();
    const port = await freePort();
    const address = `127.0.0.1:${port}`;
    const { ca, cert, key } = server.files;
    const proxy = await startProcess({
      command: await kubectlProgram(),
      args: [
        ...["proxy", `--port=${port}`, `--server=https://${server.address}`, `--certificate-authority=${ca}`],
        ...[`--client-certificate=${cert}`, `--client-key=${key}`],
      ],
      directory: server.directory,
      env: { KUBECONFIG: "/dev/null" },
      ready: async () => assert.ok((await (await fetch(`http://${address}/readyz`)).text()) === "ok"),
    });
    try {
      await using provider = kubernetesProvider({ url: `k8s+http://${address}/elections` });
      await using other = kubernetesProvider({ url: server.url });
      await provider.healthCheck(soon());
      const lease = await win(provider, request(newGroup()));
      const watch = new Watch(provider, lease.electionGroup);
      await until("it is live", () => watch.hints > 1);
      assert.equal(await provider.renew(lease, soon()), "renewed");
      assert.ok((await provider.groups?.(soon()))?.includes(lease.electionGroup));
      await other.release(lease, soon());
      await until("the release is seen", () => watch.hints > 2);
      await watch.end();
    } finally {
      await proxy.kill();
    }
  });

  Deno.test("elect run keeps leading over a restart of the API server, and hands over when it is killed", async () => {
    const server = await start();
    const env = { ELECT_PROVIDER: server.url };
    const run = (group: string, lease: string) => {
      const timing = ["--heartbeat-timeout", lease, "--heartbeat-interval", "500ms"];
      return startElect(["run", group, ...timing, "--", "sh", "-c", 'echo "leader $ELECT_TOKEN"; sleep 1000'], { env });
    };
    const [steady, nightly] = [newGroup(), `Nightly_${newGroup()}`];
    await using kept = run(steady, "120s");
    const { token } = await leaderOf([kept]);
    await server.kill();
    await server.restart();
    const seen = await elect(["leader", steady, "--json"], { env });
    assert.equal(JSON.parse(seen.stdout).token, String(token), "the term outlives the restart");
    await using one = run(nightly, "5s");
    await using two = run(nightly, "5s");
    const first = await leaderOf([one, two]);
    const other = first.leader === one ? two : one;
    assert.equal(other.stdout, "", "one leads");
    assert.match((await elect(["groups"], { env })).stdout, new RegExp(nightly));
    first.leader.kill("SIGKILL");
    const second = await leaderOf([other]);
    assert.ok(second.token > first.token, `token must grow: ${second.token} came after ${first.token}`);
    assert.equal((await elect(["evict", nightly, "--yes"], { env })).code, 0);
    assert.equal((await other.finished()).code, 75);
    assert.equal((await elect(["leader", nightly], { env })).code, 1, "nobody leads");
    assert.equal((await elect(["check"], { env })).code, 0);
    assert.match(kept.stdout, /^leader \d+\n$/, "it has led all the time");
  });
}

function leaderOf(contenders: readonly Running[]): Promise<{ leader: Running; token: bigint }> {
  return eventually(() => {
    for (const leader of contenders) {
      const token = leader.stdout.match(/leader (\d+)/)?.[1];
      if (token !== undefined) return { leader, token: BigInt(token) };
    }
    return null;
  }, "a leader");
}

/** Returns the path of the program `kubectl`, which is fetched if need be. */
async function kubectlProgram(): Promise<string> {
  const path = `${cacheDirectory("kubectl")}/usr/bin/kubectl`;
  const found = await findProgram(path);
  if (found === null) {
    await fillCache("kubectl", (directory) => unpackDebian("bookworm", ["kubernetes-client"], directory));
  }
  return path;
}
