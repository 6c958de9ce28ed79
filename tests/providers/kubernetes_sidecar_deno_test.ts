/** The sidecar that is there to take away, as an API server takes it: tried out, and nothing of it lost. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { parseAllDocuments } from "yaml";
import type { KubernetesServer } from "../servers/kubernetes.ts";
import { until } from "../until.ts";
import { ownServer } from "./kubernetes/own_server.ts";

const PATHS: Readonly<Record<string, string>> = {
  Deployment: "/apis/apps/v1/namespaces/default/deployments",
  Service: "/api/v1/namespaces/default/services",
};

const start = await ownServer();
if (start !== null) {
  test("an API server takes the manifests of deploy/kubernetes, field by field", async () => {
    const server = await start();
    await until("the namespace", async () => (await server.ask("GET", "/api/v1/namespaces/default")).status === 200);
    const text = await Deno.readTextFile(new URL("../../deploy/kubernetes/sidecar.yml", import.meta.url));
    const objects = parseAllDocuments(text).map((each) => each.toJS());
    assert.deepEqual(objects.map(({ kind }) => kind), ["Deployment", "Service"]);
    for (const object of objects) {
      const { status, json } = await tryOut(server, object);
      assert.equal(status, 201, JSON.stringify(json));
      assert.deepEqual(missing(object, json), []);
    }
    // What the server does not know it leaves out; what it knows must make sense.
    const [deployment] = objects;
    const misspelt = JSON.parse(JSON.stringify(deployment).replace("readinessProbe", "readynessProbe"));
    const { json } = await tryOut(server, misspelt);
    assert.deepEqual(missing(misspelt, json), ["spec.template.spec.containers.1.readynessProbe"]);
    const senseless = JSON.parse(JSON.stringify(deployment).replace('"port":"elect"', '"port":"a port"'));
    assert.equal((await tryOut(server, senseless)).status, 422);
  });
}

// deno-lint-ignore no-explicit-any -- an object of any kind
function tryOut(server: KubernetesServer, object: any) {
  return server.ask("POST", `${PATHS[object.kind]}?dryRun=All`, object);
}

/** The paths of what `given` has, and `taken` not. */
function missing(given: unknown, taken: unknown, path = ""): string[] {
  if (typeof given !== "object" || given === null || taken === undefined) return given === taken ? [] : [path];
  return Object.entries(given).flatMap(([key, value]) =>
    missing(value, (taken as Record<string, unknown> | undefined)?.[key], path === "" ? key : `${path}.${key}`)
  );
}
