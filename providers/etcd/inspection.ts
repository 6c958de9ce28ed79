// deno-lint-ignore-file camelcase -- the names are those of etcd's JSON
/**
 * The meaning of a cluster's members and settings for the durability of leases.
 *
 * @module
 */

import type { Finding, Inspection } from "../../src/provider.ts";
import { redact } from "../../src/redact.ts";
import { systemClock } from "../../src/time/clock.ts";
import { offsetOf } from "../kit/http_date.ts";
import { judgeServers } from "../kit/servers.ts";
import { EtcdClient } from "./client.ts";
import type { Keys } from "./keys.ts";
import { keysIn, never, put } from "./requests.ts";
import type { EtcdTarget } from "./target.ts";

/** The answer of a member about itself; numbers of 64 bits are text, and what is false, zero or empty is left out. */
interface Status {
  readonly header: { readonly cluster_id?: string };
  readonly version: string;
  /** Such as `alarm:NOSPACE memberID:123`, and `etcdserver: no leader`. */
  readonly errors?: readonly string[];
  readonly isLearner?: boolean;
}

interface MemberList {
  readonly members?: readonly { readonly isLearner?: boolean }[];
}

/** A member of the URL, and what it said; or why it did not. */
interface Told {
  readonly origin: string;
  readonly status: Status | null;
  readonly why: string;
  /** The members that it knows of, or why it does not tell. */
  readonly members: { readonly value: MemberList | null; readonly why: string };
  /** The lead of its clock over this host's, in milliseconds; null if it did not answer. */
  readonly clockOffsetMs: number | null;
}

/**
 * Asks each member of the URL for its state, and the cluster for its members; and has each right of the user tried. The
 * API tells neither whether writes are flushed (`--unsafe-no-fsync`) nor how large the database may become.
 */
export async function inspectCluster(
  client: Pick<EtcdClient, "request">,
  target: EtcdTarget,
  keys: Keys,
  signal: AbortSignal,
): Promise<Inspection> {
  const key = keys.ofTerm("elect-check", "elect-check");
  const [told, reading, writing] = await Promise.all([
    Promise.all(target.origins.map((origin) => ask({ ...target, origins: [origin] }, origin, signal))),
    attempt(() => client.request("kv/range", { ...keysIn(keys.all), count_only: true }, signal)),
    // It cannot succeed, and so writes nothing; the right is asked for all the same.
    attempt(() => client.request("kv/txn", { compare: [never(key)], success: [put(key, "")] }, signal)),
  ]);
  // Whoever tells them: a learner does not.
  const known = told.find(({ members }) => members.value !== null) ?? told[0];
  const list = known?.members.value ?? null;
  const answered = told.flatMap(({ status }) => status ?? []);
  const versions = [...new Set(answered.map(({ version }) => version))];
  const voters = list?.members?.filter(({ isLearner }) => isLearner !== true).length ?? 0;
  return {
    version: versions.length === 0 ? null : `etcd ${versions.join(", ")}`,
    findings: [
      judgeRight("reading", reading.why, keys),
      judgeRight("writing", writing.why, keys),
      list === null ? unknownMembers(known?.members.why ?? "") : judgeServers("members", voters),
      ...told.flatMap((each) => judgeAddress(each) ?? []),
      ...judgeClusters(answered),
      ...versions.flatMap((version) => judgeVersion(version, list !== null && voters <= 1) ?? []),
      ...judgeAlarms(answered),
    ],
    // The times in records are those of participants.
    clockOffsetMs: told.find(({ clockOffsetMs }) => clockOffsetMs !== null)?.clockOffsetMs ?? null,
  };
}

/** Asks one member for its state, on a connection that goes to no other one. */
async function ask(target: EtcdTarget, origin: string, signal: AbortSignal): Promise<Told> {
  const client = new EtcdClient(target);
  const sent = systemClock.wall();
  try {
    const { value: status, why } = await attempt(() => client.request<Status>("maintenance/status", {}, signal));
    const clockOffsetMs = offsetOf(client.date, sent, systemClock.wall());
    const members = await attempt(() => client.request<MemberList>("cluster/member/list", {}, signal));
    return { origin, status, why, members, clockOffsetMs };
  } finally {
    client.close();
  }
}

function judgeRight(about: "reading" | "writing", why: string, { prefix }: Keys): Finding {
  if (why === "") return { about, level: "ok", text: `allowed below ${prefix}` };
  const remedy = /permission denied/.test(why)
    ? `etcdctl role grant-permission ROLE --prefix=true readwrite ${prefix}`
    : undefined;
  return { about, level: "error", text: why, remedy };
}

function unknownMembers(why: string): Finding {
  return { about: "members", level: "warning", text: `how many there are is unknown: ${why}` };
}

function judgeAddress({ origin, status, why }: Told): Finding | null {
  const about = `member at ${origin}`;
  if (status === null) {
    return { about, level: "warning", text: why, remedy: "the address of a member that tells its state" };
  }
  if (status.isLearner !== true) return null;
  const text = "a learner: it has no vote, and refuses what elections ask for";
  return { about, level: "error", text, remedy: "etcdctl member promote, or the address of another member" };
}

function judgeClusters(answered: readonly Status[]): Finding[] {
  const { size } = new Set(answered.map(({ header }) => header.cluster_id));
  if (size <= 1) return [];
  const text = `the addresses lead to ${size} clusters, each of which has a leader of its own for every group`;
  return [{ about: "cluster", level: "error", text, remedy: "addresses of one cluster" }];
}

/** The versions with defects that cost leases: https://github.com/etcd-io/etcd/issues/15247 and 13766. */
function judgeVersion(version: string, isAlone: boolean): Finding | null {
  const [major = 0, minor = 0, patch = 0] = version.split(".").map(Number.parseFloat);
  if (major !== 3) return null;
  const about = "version";
  // Each takes members that lead the cluster one after the other, or that differ.
  if (isAlone) return { about, level: "ok", text: `${version}: no defect is known that costs leases of one member` };
  if (minor === 5 && patch < 3) {
    const text = `${version}: a member that is killed under load may have other data than the rest afterwards`;
    return { about, level: "error", text, remedy: "etcd 3.5.13 or later" };
  }
  if ((minor === 4 && patch < 31) || (minor === 5 && patch < 13)) {
    const text =
      `${version}: a member that led the cluster, and was stuck for longer than a lease, may revoke live ones`;
    return { about, level: "warning", text, remedy: "etcd 3.4.31, 3.5.13 or later" };
  }
  return { about, level: "ok", text: `${version}: no defect is known that costs leases` };
}

const ALARMS: Readonly<Record<string, { readonly text: string; readonly remedy: string }>> = {
  NOSPACE: {
    text: "the database has reached its quota: nobody can begin a term",
    remedy: "etcdctl compaction and defrag, or a larger --quota-backend-bytes; then etcdctl alarm disarm",
  },
  CORRUPT: {
    text: "the data of the members differ: what a member answers may be wrong",
    remedy: "the member that differs must be replaced; then etcdctl alarm disarm",
  },
};

function judgeAlarms(answered: readonly Status[]): Finding[] {
  const errors = new Set(answered.flatMap((status) => status.errors ?? []));
  const names = new Set([...errors].map((error) => /alarm:(\w+)/.exec(error)?.[1] ?? error));
  if (names.size === 0) return [{ about: "alarms", level: "ok", text: "none" }];
  return [...names].map((name) => ({ about: "alarms", level: "error", ...(ALARMS[name] ?? { text: name }) }));
}

async function attempt<T>(work: () => Promise<T>): Promise<{ readonly value: T | null; readonly why: string }> {
  try {
    return { value: await work(), why: "" };
  } catch (error) {
    return { value: null, why: redact(error instanceof Error ? error.message : String(error)) };
  }
}
