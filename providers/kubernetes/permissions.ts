/**
 * Checks, without writing anything, that elections will be able to do what they need.
 *
 * @module
 */

import { permanently } from "../../src/call.ts";
import type { ApiClient } from "./client.ts";
import { pathOf } from "./group_lease.ts";

/** The verbs that elections need on Leases; `groups()` needs `list` too. */
const VERBS = ["get", "create", "patch", "watch"] as const;
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
  const [allowed] = await Promise.all([
    allowedBy(client, namespace, signal),
    tryOut(client, namespace, signal),
  ]);
  // Not every authorizer can list its rules, but each can say yes or no.
  const doubtful = VERBS.filter((verb) => !allowed.has(verb) && !allowed.has("*"));
  const answers = await Promise.all(doubtful.map((verb) => isAllowed(client, namespace, verb, signal)));
  const missing = doubtful.filter((_, i) => !answers[i]);
  if (missing.length === 0) return;
  throw permanently(
    new Error(`the role lacks ${missing.map((verb) => `"${verb}"`).join(", ")} on leases in "${namespace}"`),
  );
}

/** The verbs that a rule allows on Leases, be it on some of them by name. */
async function allowedBy(client: ApiClient, namespace: string, signal: AbortSignal): Promise<Set<string>> {
  const path = `${REVIEWS}/selfsubjectrulesreviews`;
  const { json } = await review<RulesReview>(client, path, "SelfSubjectRulesReview", { namespace }, signal);
  const has = (among: readonly string[] | null | undefined, name: string) =>
    among?.includes("*") === true || among?.includes(name) === true;
  const rules = json.status?.resourceRules ?? [];
  return new Set(
    rules.filter(({ apiGroups, resources }) => has(apiGroups, GROUP) && has(resources, RESOURCE))
      .flatMap(({ verbs }) => verbs),
  );
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

async function tryOut(client: ApiClient, namespace: string, signal: AbortSignal): Promise<void> {
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
