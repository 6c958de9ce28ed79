/**
 * Kubernetes beside bare requests over connections of the same kind: a patch that must find a version, one that finds
 * another, and one that finds any. The API has no cheaper conditional write.
 */

import { readFile } from "node:fs/promises";
import { kubernetesProvider } from "../../providers/kubernetes.ts";
import { openConnections } from "../../providers/kit/http_agent.ts";
import { exchange, textOf } from "../../providers/kit/http_exchange.ts";
import { parseKubernetesUrl } from "../../providers/kubernetes/target.ts";
import type { BenchBackend } from "../backend.ts";

/** Opens the provider, and a Lease for the bare calls. */
export async function open(url: string): Promise<BenchBackend> {
  const provider = kubernetesProvider({ url });
  const { origin, namespace, tls, tokenFile } = parseKubernetesUrl(url);
  const connections = openConnections(tls);
  const token = tokenFile === null ? null : (await readFile(tokenFile, "utf8")).trim();
  const path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
  const name = `bench-${crypto.randomUUID()}`;
  async function send(method: "POST" | "PATCH", body: object): Promise<{ metadata: { resourceVersion: string } }> {
    const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    const headers = { "content-type": type, ...(token !== null && { authorization: `Bearer ${token}` }) };
    const signal = AbortSignal.timeout(60_000);
    const to = new URL(`${origin}${path}${method === "PATCH" ? `/${name}` : ""}`);
    const answer = await exchange(connections, to, { method, headers, body: JSON.stringify(body), signal });
    return JSON.parse(await textOf(answer.body));
  }
  async function serverVersion(): Promise<string> {
    const headers = { ...(token !== null && { authorization: `Bearer ${token}` }) };
    const signal = AbortSignal.timeout(60_000);
    const answer = await exchange(connections, new URL(`${origin}/version`), { method: "GET", headers, signal });
    return `Kubernetes ${JSON.parse(await textOf(answer.body)).gitVersion}`;
  }
  let version = (await send("POST", { metadata: { name } })).metadata.resourceVersion;
  let beat = 0;
  // As large as a heartbeat.
  const patch = (resourceVersion: string) =>
    send("PATCH", { metadata: { resourceVersion, annotations: { bench: String(beat++).padEnd(320, ".") } } });
  async function write(): Promise<void> {
    version = (await patch(version)).metadata.resourceVersion;
  }
  return {
    provider,
    bare: { acquireWon: write, acquireLost: () => patch("1"), heartbeat: write, release: write },
    version: serverVersion,
    heartbeatTimeout: 60_000,
    async close() {
      await provider[Symbol.asyncDispose]();
      connections.close();
    },
  };
}
