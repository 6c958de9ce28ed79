/** What Consul refuses for good ends the start of an election, instead of being waited for. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { consulProgram, type ConsulServer, type ConsulSetup, startConsul } from "../../servers/consul.ts";
import "../../../providers/consul.ts";
import { refused, refusedToAll, TELLS_ALERTS } from "../refused.ts";
import { ask } from "./fixture.ts";

/** Where Consul cannot be had there are no tests; the runner names the backend as skipped. */
const isThere = await consulProgram().then(() => true, () => false);

function consulTest(name: string, setup: ConsulSetup, work: (server: ConsulServer) => Promise<void>): void {
  if (!isThere) return;
  test(name, { timeout: 120_000 }, async () => {
    const server = await startConsul(setup);
    try {
      await work(server);
    } finally {
      await server.stop();
    }
  });
}

const MASTER = "6d617374-6572-0000-0000-000000000000";
const UNKNOWN = "756e6b6e-6f77-6e00-0000-000000000000";

consulTest(
  "elect() rejects, when Consul does not know a token, or gives it no right",
  { masterToken: MASTER },
  async (server) => {
    const admin = async (path: string, body: unknown): Promise<Record<string, string>> => {
      const headers = { "x-consul-token": MASTER };
      const url = `${server.url.replace("consul:", "http:")}/v1/acl/${path}`;
      return await (await fetch(url, { method: "PUT", headers, body: JSON.stringify(body) })).json();
    };
    const tokenWith = async (name: string, rules: string) => {
      const { ID } = await admin("policy", { Name: name, Rules: rules });
      return (await admin("token", { Policies: [{ ID }] })).SecretID ?? assert.fail();
    };
    const as = (token: string) => server.url.replace("//", `//:${token}@`);
    await refusedToAll(server.url, /Permission denied/);
    await refusedToAll(as(UNKNOWN), /ACL not found/);
    const keys = (right: string) => `key_prefix "multilock/" { policy = "${right}" }`;
    await refused(as(await tokenWith("reader", `${keys("read")} session_prefix "" { policy = "write" }`)), /denied/);
    await refused(as(await tokenWith("sessionless", keys("write"))), /denied/);
  },
);

consulTest("elect() rejects, when the key of the group holds something that is no lock", {}, async (server) => {
  await ask(server.url, "PUT", "kv/multilock/g/.lock", "precious");
  await refusedToAll(server.url, /holds something that is no lock/, { electionGroup: "g" });
});

consulTest("elect() rejects, when TLS is refused by either side", { isTls: true }, async ({ url, files }) => {
  const at = (settings: Record<string, string>) => `${url}?${new URLSearchParams(settings)}`;
  await refusedToAll(at({}), /certificate/);
  if (TELLS_ALERTS) await refusedToAll(at({ ca: files.ca }), /certificate/i);
  await refusedToAll(at({ ...files, servername: "elsewhere.example" }), /elsewhere|altname/);
  await refusedToAll(at({ ca: "/does/not/exist.pem" }), /setting "ca"/);
});

for (const status of [200, 404]) {
  test(`elect() rejects, when it is not Consul that answers with ${status}`, async () => {
    const web = createServer((_request, answer) => void answer.writeHead(status).end("<html>hello</html>"));
    await once(web.listen(0, "127.0.0.1"), "listening");
    try {
      await refusedToAll(`consul://127.0.0.1:${(web.address() as AddressInfo).port}`, /this is not Consul/);
    } finally {
      web.close();
      web.closeAllConnections();
    }
  });
}
