/**
 * The meaning of a server's settings for the durability of leases.
 *
 * @module
 */

import type { Finding, Inspection } from "../../src/provider.ts";
import type { Link } from "./link.ts";
import type { Router } from "./router.ts";
import { format } from "./target.ts";
import { onEachPrimary } from "./upkeep.ts";

/** Asks each primary for its version and settings. Who may not ask may still lead: that is a finding. */
export async function inspectServers(router: Router, signal: AbortSignal): Promise<Inspection> {
  const inspections: { readonly at: string; readonly inspection: Inspection }[] = [];
  await onEachPrimary(router, signal, async (link, isCluster) => {
    inspections.push({ at: isCluster ? ` at ${format(link.address)}` : "", inspection: await inspectServer(link) });
  });
  return {
    version: [...new Set(inspections.map(({ inspection }) => inspection.version))].join(", ") || null,
    findings: inspections.flatMap(({ at, inspection }) =>
      inspection.findings.map((finding) => ({ ...finding, about: `${finding.about}${at}` }))
    ),
  };
}

async function inspectServer(link: Link): Promise<Inspection> {
  const info = await link.send("INFO").then(String, () => "");
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, "m").exec(info)?.[1];
  const fsync = await link.send("CONFIG", "GET", "appendfsync").then(
    (answer) => Array.isArray(answer) ? String(answer[1] ?? "") : undefined,
    () => undefined,
  );
  const [valkey, redis] = [field("valkey_version"), field("redis_version")];
  const version = valkey !== undefined ? `Valkey ${valkey}` : redis !== undefined ? `Redis ${redis}` : null;
  if (info === "") {
    const text = "the user may not run INFO, so how durable leases are is unknown";
    return {
      version,
      findings: [{ about: "INFO", level: "warning", text, remedy: "ACL SETUSER ... +info +config|get" }],
    };
  }
  return {
    version,
    findings: [
      appendOnly(field("aof_enabled") === "1"),
      ...(field("aof_enabled") === "1" ? [appendFsync(fsync)] : []),
      memoryPolicy(field("maxmemory") ?? "0", field("maxmemory_policy") ?? "noeviction"),
      replicas(Number(field("connected_slaves") ?? 0)),
    ],
  };
}

function appendOnly(isOn: boolean): Finding {
  if (isOn) return { about: "appendonly", level: "ok", text: "yes: leases survive a restart of the server" };
  return {
    about: "appendonly",
    level: "warning",
    text: "no: a server that restarts has forgotten its leases, and grants them again while their holders still lead",
    remedy: "appendonly yes, appendfsync always",
  };
}

function appendFsync(fsync: string | undefined): Finding {
  const about = "appendfsync";
  if (fsync === "always") return { about, level: "ok", text: "always: a lease is on disk before it is granted" };
  const text = fsync === undefined
    ? "unknown, since the user may not run CONFIG GET"
    : `${fsync}: a machine that crashes forgets the leases of the last ${fsync === "no" ? "half minute" : "second"}`;
  return { about, level: "warning", text, remedy: "appendfsync always, or resources that check fencing tokens" };
}

function memoryPolicy(limit: string, policy: string): Finding {
  const about = "maxmemory-policy";
  if (limit !== "0" && policy.startsWith("allkeys-")) {
    return {
      about,
      level: "error",
      text: `${policy}: the server may evict leases`,
      remedy: "maxmemory-policy noeviction",
    };
  }
  return { about, level: "ok", text: `${policy}: no lease is evicted` };
}

function replicas(count: number): Finding {
  const about = "replicas";
  if (count === 0) return { about, level: "ok", text: "none: no failover can forget leases" };
  return {
    about,
    level: "warning",
    text: `${count}: replication is asynchronous, so a failover can forget the latest leases; tokens still grow`,
    remedy: "resources that check fencing tokens, or a backend that replicates before it answers",
  };
}
