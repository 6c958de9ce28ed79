/**
 * Checks, without writing anything, that elections will be able to do what they need.
 *
 * @module
 */

import { permanently } from "../../src/call.ts";
import type { ApiClient, Verb } from "./client.ts";
import { pathOf } from "./group_lease.ts";

/** The verbs that elections need on Leases; `groups()` needs `list` too. */
export const VERBS = ["get", "create", "patch", "watch"] as const;
const [GROUP, RESOURCE] = ["coordination.k8s.io", "leases"];
const REVIEWS = "/apis/authorization.k8s.io/v1";

/** The rules that an API server knows for whoever asks. */
interface RulesReview {
  readonly status: {
    readonly resourceRules?:
      | readonly {
        readonly verbs: readonly string[];
        readonly apiGroups?: readonly string[] | null;
        readonly resources?: readonly string[] | null;
        readonly resourceNames?: readonly string[] | null;
      }[]
      | null;
  };
}

interface AccessReview {
  readonly status: { readonly allowed: boolean };
}

/**
 * Asks for the caller's rights, and has the creation of a Lease tried out: with `dryRun`, the server does all of it but
 * write.
 *
 * @throws {Error} that names each verb that is missing, or says that there is no such namespace
 */
export async function checkPermissions(client: ApiClient, namespace: string, signal: AbortSignal): Promise<void> {
  const [rights] = await Promise.all([
    rightsOn(VERBS, client, namespace, signal),
    tryOut(client, namespace, signal),
  ]);
  const missing = VERBS.filter((verb) => rights.get(verb) === "none");
  if (missing.length === 0) return;
  throw permanently(
    new Error(`the role lacks ${missing.map((verb) => `"${verb}"`).join(", ")} on leases in "${namespace}"`),
  );
}

/** The Leases on which a verb is allowed: all, those that a rule names, or none. */
export type Reach = "all" | "named" | "none";

/** Asks for the caller's rights on Leases. */
export async function rightsOn<V extends Verb>(
  verbs: readonly V[],
  client: ApiClient,
  namespace: string,
  signal: AbortSignal,
): Promise<Map<V, Reach>> {
  const path = `${REVIEWS}/selfsubjectrulesreviews`;
  const { json } = await review<RulesReview>(client, path, "SelfSubjectRulesReview", { namespace }, signal);
  const has = (among: readonly string[] | null | undefined, name: string) =>
    among?.includes("*") === true || among?.includes(name) === true;
  const rules = (json.status?.resourceRules ?? [])
    .filter(({ apiGroups, resources }) => has(apiGroups, GROUP) && has(resources, RESOURCE));
  const reachOf = async (verb: V): Promise<Reach> => {
    const those = rules.filter(({ verbs: allowed }) => has(allowed, verb));
    if (those.some(({ resourceNames }) => (resourceNames ?? []).length === 0)) return "all";
    if (those.length > 0) return "named";
    // Not every authorizer can list its rules, but each can say yes or no.
    return await isAllowed(client, namespace, verb, signal) ? "all" : "none";
  };
  return new Map(await Promise.all(verbs.map(async (verb) => [verb, await reachOf(verb)] as const)));
}

async function isAllowed(client: ApiClient, namespace: string, verb: string, signal: AbortSignal): Promise<boolean> {
  const resourceAttributes = { namespace, verb, group: GROUP, resource: RESOURCE };
  const path = `${REVIEWS}/selfsubjectaccessreviews`;
  const spec = { resourceAttributes };
  const { json } = await review<AccessReview>(client, path, "SelfSubjectAccessReview", spec, signal);
  return json.status?.allowed === true;
}

function review<T>(client: ApiClient, path: string, kind: string, spec: object, signal: AbortSignal) {
  const body = { apiVersion: "authorization.k8s.io/v1", kind, spec };
  return client.call<T>({ verb: "create", resource: "reviews of one's own rights", path, body, signal });
}

/**
 * Has the creation of a Lease tried out, and nothing written.
 *
 * @throws {Error} that says why it may not be: a role, a quota, a namespace that is not there or on its way out
 */
export async function tryOut(client: ApiClient, namespace: string, signal: AbortSignal): Promise<void> {
  const { status } = await client.call({
    verb: "create",
    path: pathOf(namespace),
    query: { dryRun: "All" },
    body: {
      apiVersion: `${GROUP}/v1`,
      kind: "Lease",
      metadata: { generateName: "multilock-health-check-" },
      spec: { holderIdentity: "", leaseDurationSeconds: 1 },
    },
    signal,
  });
  if (status === 404) throw permanently(new Error(`there is no namespace "${namespace}"`));
}
