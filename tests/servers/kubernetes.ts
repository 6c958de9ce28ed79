/** A real kube-apiserver for the tests, with an etcd of its own. */

import { Buffer } from "node:buffer";
import { readFile, writeFile } from "node:fs/promises";
import { request } from "node:https";
import { join } from "node:path";
import { etcdServer, startEtcd } from "./etcd.ts";
import { builtPrograms, kubernetesPrograms } from "./kubernetes_build.ts";
import { freePort, removeDirectory, run, startProcess, temporaryDirectory } from "./process.ts";
import type { ServerKind, TestServer } from "./server.ts";

/** The namespace of the tests. */
const NAMESPACE = "elections";
/** The verbs that elections need, and `list` for `groups()`. */
const VERBS = ["get", "create", "patch", "watch", "list"];

/** Starts an API server with one namespace, and a user who may do there what elections need. */
export const kubernetesServer: ServerKind = {
  name: "kubernetes",
  // The control plane alone, without nodes; and `kubectl proxy`, so that no certificates must leave the container.
  compose: {
    url: "k8s+http://127.0.0.1:58001/default",
    image: "rancher/k3s:v1.31.3-k3s1",
    port: 8001,
    entrypoint: ["/bin/sh", "-c"],
    command: [[
      "k3s server --disable-agent --disable-cloud-controller &",
      "until k3s kubectl get namespace default; do sleep 1; done;",
      "exec k3s kubectl proxy --address=0.0.0.0 --accept-hosts='.*'",
    ].join(" ")],
    healthCheck: ["wget", "-q", "-O", "-", "http://127.0.0.1:8001/readyz"],
    patience: 120,
  },
  async install() {
    await Promise.all([kubernetesPrograms(), etcdServer.install()]);
  },
  isThere: async () => await builtPrograms() !== null,
  start: () => startKubernetes(),
};

/** A running API server. */
export interface KubernetesServer extends TestServer {
  /** `127.0.0.1:PORT`. */
  readonly address: string;
  /** Its directory, for files of the tests. */
  readonly directory: string;
  /** The etcd behind it alone. */
  readonly store: TestServer;
  /** Files in PEM: the authority of the server, and what a client that may do everything shows. */
  readonly files: { readonly ca: string; readonly cert: string; readonly key: string };
  /** Asks it as somebody who may do everything. */
  ask(method: string, path: string, body?: unknown, type?: string): Promise<KubernetesAnswer>;
  /** Lets a new user do what `rules` say in the namespace of the tests; returns the file with the user's token. */
  user(rules: readonly Record<string, unknown>[]): Promise<string>;
}

/** An answer of the API server. */
export interface KubernetesAnswer {
  readonly status: number;
  // deno-lint-ignore no-explicit-any -- an object of any kind
  readonly json: any;
}

/** Starts one. */
export async function startKubernetes(args: readonly string[] = []): Promise<KubernetesServer> {
  const { apiserver } = await kubernetesPrograms();
  const directory = await temporaryDirectory("kubernetes");
  const at = (name: string) => join(directory, name);
  const port = await freePort();
  const tokens = Array.from({ length: 20 }, () => crypto.randomUUID());
  await certificates(at);
  await writeFile(at("tokens.csv"), tokens.map((token, i) => `${token},user-${i},${i}\n`).join(""));
  const ask: KubernetesServer["ask"] = async (method, path, body, type = "application/json") => {
    const [ca, cert, key] = await Promise.all(["ca.pem", "admin.pem", "admin.key"].map((name) => readFile(at(name))));
    return await new Promise((resolve, reject) => {
      const headers = { "content-type": type };
      const asked = request(
        { host: "127.0.0.1", port, path, method, headers, agent: false, ca, cert, key, timeout: 5_000 },
        async (answer) => {
          const chunks: Uint8Array[] = [];
          try {
            for await (const chunk of answer) chunks.push(chunk);
            const text = Buffer.concat(chunks).toString();
            resolve({ status: answer.statusCode ?? 0, json: text.startsWith("{") ? JSON.parse(text) : text });
          } catch (error) {
            reject(error);
          }
        },
      );
      asked.on("timeout", () => asked.destroy(new Error("it does not answer")));
      asked.on("error", reject);
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
  };
  const store = await startEtcd();
  const server = await startProcess({
    command: apiserver,
    args: [
      ...[`--etcd-servers=${store.url.replace("etcd:", "http:")}`, "--bind-address=127.0.0.1", `--secure-port=${port}`],
      ...[`--tls-cert-file=${at("server.pem")}`, `--tls-private-key-file=${at("server.key")}`],
      ...[`--client-ca-file=${at("ca.pem")}`, `--token-auth-file=${at("tokens.csv")}`, "--authorization-mode=RBAC"],
      ...["--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.0.0.0/24"],
      ...[`--service-account-key-file=${at("server.key")}`, `--service-account-signing-key-file=${at("server.key")}`],
      // It has no nodes, and no address that others could reach.
      ...["--endpoint-reconciler-type=none", "--advertise-address=10.0.0.1", ...args],
    ],
    directory,
    ready: async () => {
      const { status } = await ask("GET", "/readyz");
      if (status !== 200) throw new Error(`readyz: ${status}`);
    },
  }).catch(async (error) => {
    await store.stop();
    throw error;
  });
  let users = 0;
  const user: KubernetesServer["user"] = async (rules) => {
    const name = `user-${users}`;
    const path = `/apis/rbac.authorization.k8s.io/v1/namespaces/${NAMESPACE}`;
    const api = "rbac.authorization.k8s.io";
    const role = await ask("POST", `${path}/roles`, { metadata: { name }, rules });
    const binding = await ask("POST", `${path}/rolebindings`, {
      metadata: { name },
      roleRef: { apiGroup: api, kind: "Role", name },
      subjects: [{ apiGroup: api, kind: "User", name }],
    });
    for (const { status, json } of [role, binding]) if (status !== 201) throw new Error(JSON.stringify(json));
    await writeFile(at(`${name}.token`), tokens[users++] ?? "");
    return at(`${name}.token`);
  };
  await ask("POST", "/api/v1/namespaces", { metadata: { name: NAMESPACE } });
  const token = await user([{ apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs: VERBS }]);
  return {
    url: `k8s://127.0.0.1:${port}/${NAMESPACE}?ca=${at("ca.pem")}&token=${token}`,
    address: `127.0.0.1:${port}`,
    directory,
    store,
    files: { ca: at("ca.pem"), cert: at("admin.pem"), key: at("admin.key") },
    ask,
    user,
    async kill() {
      await server.kill();
      await store.kill();
    },
    async restart() {
      await server.kill();
      await store.restart();
      await server.restart();
    },
    async freeze() {
      await server.freeze();
      await store.freeze();
    },
    async thaw() {
      await store.thaw();
      await server.thaw();
    },
    async stop() {
      await server.kill();
      await store.stop();
      await removeDirectory(directory);
    },
  };
}

/** Makes an authority, and certificates of the server and of somebody who may do everything. */
async function certificates(at: (name: string) => string): Promise<void> {
  const key = ["-newkey", "rsa:2048", "-nodes"];
  await run("openssl", [
    ...["req", "-x509", ...key, "-days", "2", "-subj", "/CN=authority"],
    ...["-keyout", at("ca.key"), "-out", at("ca.pem")],
  ]);
  for (
    const [name, subject, extension] of [
      ["server", "/CN=kube-apiserver", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
      ["admin", "/O=system:masters/CN=admin", "extendedKeyUsage=clientAuth"],
    ] as const
  ) {
    await writeFile(at(`${name}.ext`), `${extension}\n`);
    const request = ["-keyout", at(`${name}.key`), "-out", at(`${name}.csr`)];
    await run("openssl", ["req", ...key, "-subj", subject, ...request]);
    await run("openssl", [
      ...["x509", "-req", "-in", at(`${name}.csr`), "-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-CAcreateserial"],
      ...["-days", "2", "-extfile", at(`${name}.ext`), "-out", at(`${name}.pem`)],
    ]);
  }
}
