/**
 * The caller's rights, one by one, and what the namespace makes of a new Lease.
 *
 * @module
 */

import type { Finding, Inspection } from "../../src/provider.ts";
import { redact } from "../../src/redact.ts";
import { systemClock } from "../../src/time/clock.ts";
import { offsetOf } from "../kit/http_date.ts";
import type { ApiClient } from "./client.ts";
import { type Reach, rightsOn, tryOut, VERBS } from "./permissions.ts";

/** Asks for the version and the rights, and has the creation of a Lease tried out. Writes nothing. */
export async function inspectServer(client: ApiClient, namespace: string, signal: AbortSignal): Promise<Inspection> {
  const sent = systemClock.wall();
  const [{ version, clockOffsetMs }, rights, refusal] = await Promise.all([
    // Anybody may ask for it, unless the cluster has taken that away.
    client.call<{ readonly gitVersion?: unknown }>({ verb: "get", resource: "/version", path: "/version", signal })
      .then(
        ({ json, date }) => ({ version: json.gitVersion, clockOffsetMs: offsetOf(date, sent, systemClock.wall()) }),
        () => ({ version: null, clockOffsetMs: null }),
      ),
    rightsOn([...VERBS, "list"], client, namespace, signal),
    tryOut(client, namespace, signal).then(() => null, (error) => redact(String(error?.message ?? error))),
  ]);
  return {
    version: typeof version === "string" ? `Kubernetes ${version}` : null,
    findings: [
      ...[...rights].map(([verb, reach]) => judgeRight(verb, reach, namespace)),
      refusal === null ? { about: "namespace", level: "ok", text: `${namespace} takes a new Lease` } : {
        about: "namespace",
        level: "error",
        text: refusal,
        remedy: "a namespace, a quota and a role that allow it",
      },
    ],
    // The times in records are those of participants.
    clockOffsetMs,
  };
}

function judgeRight(verb: (typeof VERBS)[number] | "list", reach: Reach, namespace: string): Finding {
  const about = `verb ${verb}`;
  if (reach === "all") return { about, level: "ok", text: `allowed on leases in ${namespace}` };
  const remedy = `a role with the verb "${verb}" on leases of coordination.k8s.io, without resourceNames`;
  if (verb === "list") {
    return { about, level: "warning", text: "not allowed: groups() is refused, elections are not", remedy };
  }
  // The API server does not know the name yet when it judges a creation, so that no rule with names allows one.
  if (reach === "none" || verb === "create") {
    return { about, level: "error", text: `not allowed on leases in ${namespace}`, remedy };
  }
  const text = "allowed on the Leases that the role names: ";
  if (verb !== "watch") return { about, level: "ok", text: `${text}a group that is not among them is refused` };
  return { about, level: "warning", text: `${text}whoever waits in several groups at once gets no hints`, remedy };
}
