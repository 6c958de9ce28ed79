/** What the Kubernetes provider says of its user's rights, and of the namespace. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { kubernetesProvider } from "../../providers/kubernetes.ts";
import type { Inspection } from "../../src/provider.ts";
import type { KubernetesServer } from "../servers/kubernetes.ts";
import { until } from "../until.ts";
import { isOfThisHost, soon } from "./asking.ts";
import { ownServer, urlFor } from "./kubernetes/own_server.ts";

const LEASES = { apiGroups: ["coordination.k8s.io"], resources: ["leases"] };
const VERBS = ["get", "create", "patch", "watch", "list"];

const start = await ownServer();
if (start !== null) testInspection(start);

/** The levels of the findings, by what they are about. */
function levels({ findings }: Inspection): Record<string, string> {
  for (const { level, text, remedy } of findings) assert.ok(text !== "" && (level === "ok" || remedy), text);
  return Object.fromEntries(findings.map(({ about, level }) => [about, level]));
}

const ALL_OK = { ...Object.fromEntries(VERBS.map((verb) => [`verb ${verb}`, "ok"])), namespace: "ok" };

function testInspection(start: () => Promise<KubernetesServer>): void {
  /** Inspects as a user who may do what `rules` say, once the authorizer has learnt of them. */
  async function inspected(rules: readonly Record<string, unknown>[], expected: Record<string, string>) {
    const server = await start();
    await using provider = kubernetesProvider({ url: urlFor(server, await server.user(rules)) });
    let inspection: Inspection | undefined;
    await until("the role is in force", async () => {
      inspection = await provider.inspect?.(soon());
      try {
        assert.deepEqual(inspection && levels(inspection), expected);
        return true;
      } catch {
        return false;
      }
    }).catch(() => {});
    assert.ok(inspection);
    assert.deepEqual(levels(inspection), expected);
    return inspection;
  }

  test("inspect() tells the version, and that every right is there", async () => {
    const { version, clockOffsetMs } = await inspected([{ ...LEASES, verbs: VERBS }], ALL_OK);
    isOfThisHost(clockOffsetMs);
    assert.match(version ?? "", /^Kubernetes v\d+\.\d+/);
  });

  for (const missing of VERBS) {
    test(`inspect() names the verb "${missing}", where it alone is missing`, async () => {
      const level = missing === "list" ? "warning" : "error";
      // Without the right to create, none can be tried out either.
      const creation = missing === "create" ? { namespace: "error" } : {};
      const { findings } = await inspected(
        [{ ...LEASES, verbs: VERBS.filter((verb) => verb !== missing) }],
        { ...ALL_OK, [`verb ${missing}`]: level, ...creation },
      );
      assert.match(findings.find(({ about }) => about === `verb ${missing}`)?.remedy ?? "", new RegExp(`"${missing}"`));
    });
  }

  test("inspect() tells what a role that names its Leases cannot do", async () => {
    await inspected(
      [{ ...LEASES, verbs: VERBS, resourceNames: ["billing"] }],
      { ...ALL_OK, "verb create": "error", "verb watch": "warning", "verb list": "warning", namespace: "error" },
    );
  });

  test("inspect() tells that a quota forbids a new Lease, and that there is no such namespace", async () => {
    const server = await start();
    const { ca, cert, key } = server.files;
    const inspect = async (namespace: string) => {
      const url = `k8s://${server.address}/${namespace}?ca=${ca}&cert=${cert}&key=${key}`;
      await using provider = kubernetesProvider({ url });
      const inspection = await provider.inspect?.(soon());
      assert.ok(inspection);
      assert.deepEqual(levels(inspection), { ...ALL_OK, namespace: "error" });
      return inspection.findings.find(({ about }) => about === "namespace")?.text ?? "";
    };
    assert.match(await inspect("nowhere"), /there is no namespace "nowhere"/);
    await server.ask("POST", "/api/v1/namespaces", { metadata: { name: "full" } });
    const hard = { "count/leases.coordination.k8s.io": "0" };
    await server.ask("POST", "/api/v1/namespaces/full/resourcequotas", { metadata: { name: "none" }, spec: { hard } });
    // Its status is kept by a controller that does not run here.
    const status = { hard, used: { "count/leases.coordination.k8s.io": "0" } };
    const path = "/api/v1/namespaces/full/resourcequotas/none/status";
    await server.ask("PATCH", path, { status }, "application/merge-patch+json");
    await until(
      "the quota is in force",
      () => inspect("full").then((text) => /exceeded quota/.test(text), () => false),
    );
  });
}
