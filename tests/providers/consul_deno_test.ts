/**
 * The Consul provider beside the real `consul lock`, and against servers with access control, with TLS, and without a
 * leader.
 */

import assert from "node:assert/strict";
import { type ConsulOptions, consulProvider } from "../../providers/consul.ts";
import { ProviderError } from "../../src/errors.ts";
import type { AcquireRequest, Lease, Provider } from "../../src/provider.ts";
import { consulProgram, type ConsulServer, type ConsulSetup, startConsul } from "../servers/consul.ts";
import { until } from "../until.ts";

/** Why there are no tests, where Consul cannot be had; `tests/run.ts` names the backend as skipped. */
const program = await consulProgram().catch(() => null);

function consulTest(name: string, setup: ConsulSetup, work: (server: ConsulServer) => Promise<void>): void {
  if (program === null) return;
  Deno.test(name, async () => {
    const server = await startConsul(setup);
    try {
      await work(server);
    } finally {
      await server.stop();
    }
  });
}

const soon = () => ({ signal: AbortSignal.timeout(20_000) });

function request(electionGroup: string): AcquireRequest {
  return { electionGroup, participantId: "p", termId: crypto.randomUUID(), heartbeatTimeout: 15_000, metadata: {} };
}

async function win(provider: Provider, electionGroup: string): Promise<Lease> {
  const answer = await provider.acquire(request(electionGroup), soon());
  assert.ok(answer.acquired, `"${electionGroup}" must be free`);
  return answer.lease;
}

/** Runs `consul lock` with the arguments behind its address. */
function consulLock(server: ConsulServer, ...args: string[]): Deno.ChildProcess {
  const address = server.url.replace("consul://", "");
  return new Deno.Command(program ?? "consul", {
    args: ["lock", `-http-addr=${address}`, ...args],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
}

consulTest(
  "`consul lock` gets nothing while a participant leads, and its turn when that gives up",
  {},
  async (server) => {
    await using provider = consulProvider({ url: server.url });
    const lease = await win(provider, "both");
    const impatient = consulLock(server, "-timeout=1s", "multilock/both", "true");
    assert.equal((await impatient.status).code, 1, "the lock is held");
    assert.equal(await provider.renew(lease, soon()), "renewed");

    const marker = await Deno.makeTempFile();
    const patient = consulLock(server, "multilock/both", `echo mine > ${marker}; sleep 60`);
    await until("it waits", async () => (await sessionNames(server)).some((name) => name.startsWith("Consul lock")));
    for (let i = 0; i < 10; i++) assert.equal(await provider.renew(lease, soon()), "renewed");
    assert.equal(await Deno.readTextFile(marker), "", "it must not run yet");
    const start = performance.now();
    assert.equal(await provider.release(lease, soon()), "released");
    await until("it runs", async () => await Deno.readTextFile(marker) === "mine\n");
    assert.ok(performance.now() - start < 10_000, "a release waits for no lock-delay");

    const answer = await provider.acquire(request("both"), soon());
    assert.ok(!answer.acquired && answer.leader !== null);
    assert.match(answer.leader.leaderId, /^consul-session-/);
    assert.ok(answer.leader.token > lease.token);
    patient.kill("SIGINT");
    await patient.status;
    // It has deleted the key, as it does, and yet the token grows.
    assert.ok((await win(provider, "both")).token > answer.leader.token);
    await Deno.remove(marker);
  },
);

consulTest("a participant gets nothing while `consul lock` runs, and a hint when it ends", {}, async (server) => {
  await using provider = consulProvider({ url: server.url });
  const command = consulLock(server, "multilock/both", "sleep 60");
  await until("it runs", async () => await provider.read("both", soon()) !== null);
  assert.ok(!(await provider.acquire(request("both"), soon())).acquired);
  const stop = new AbortController();
  let hints = 0;
  for await (const _ of provider.watch?.("both", { signal: stop.signal }) ?? []) {
    if (hints++ === 0) command.kill("SIGINT");
    else if ((await provider.acquire(request("both"), soon())).acquired) stop.abort();
  }
  await command.status;
});

async function sessionNames(server: ConsulServer): Promise<string[]> {
  const answer = await fetch(`${server.url.replace("consul:", "http:")}/v1/session/list`);
  return (await answer.json() as { Name: string }[]).map(({ Name }) => Name);
}

const masterToken = "7c2f4f6e-3b0c-4b1e-9a55-6f9f3f1f2a10";

consulTest("a token may do what its policy says, and errors say what it may not", { masterToken }, async (server) => {
  const origin = server.url.replace("consul:", "http:");
  async function tokenWith(rules: string): Promise<string> {
    const put = async (path: string, body: unknown) => {
      const headers = { "x-consul-token": masterToken };
      const answer = await fetch(`${origin}/v1/acl/${path}`, { method: "PUT", headers, body: JSON.stringify(body) });
      return await answer.json() as { ID: string; SecretID: string };
    };
    const { ID } = await put("policy", { Name: crypto.randomUUID(), Rules: rules });
    return (await put("token", { Policies: [{ ID }] })).SecretID;
  }
  const open = (options: ConsulOptions) => consulProvider({ url: server.url, ...options });
  const rights = 'key_prefix "multilock/" { policy = "write" } session_prefix "" { policy = "write" }';
  await using allowed = open({ token: await tokenWith(rights) });
  await allowed.healthCheck(soon());
  const lease = await win(allowed, "group");
  assert.equal(await allowed.renew(lease, soon()), "renewed");
  assert.deepEqual(await allowed.groups?.(soon()), ["group"]);

  const readToken = await tokenWith(
    'key_prefix "multilock/" { policy = "read" } session_prefix "" { policy = "write" }',
  );
  await using reader = open({ url: server.url.replace("//", `//:${readToken}@`) });
  assert.equal((await reader.read("group", soon()))?.termId, lease.termId);
  await refused(reader.healthCheck(soon()), "healthCheck", readToken);
  await refused(reader.acquire(request("other"), soon()), "acquire", readToken);
  await refused(reader.release(lease, soon()), "release", readToken);

  await using noSession = open({ token: await tokenWith('key_prefix "multilock/" { policy = "write" }') });
  await refused(noSession.healthCheck(soon()), "healthCheck", "-");
  await using stranger = open({});
  await refused(stranger.healthCheck(soon()), "healthCheck", "-");
  await refused(open({ token: "f0f0f0f0-0000" }).healthCheck(soon()), "healthCheck", "f0f0f0f0-0000");
  assert.equal(await allowed.renew(lease, soon()), "renewed", "nobody else could do anything to it");
});

async function refused(call: Promise<unknown>, operation: string, secret: string): Promise<void> {
  await assert.rejects(call, (error) => {
    assert.ok(error instanceof ProviderError, `not an error of ours: ${error}`);
    assert.equal(error.operation, operation);
    assert.match(error.message, /403|permission denied|ACL not found/i);
    assert.ok(secret.length < 2 || !error.message.includes(secret), "no credentials in errors");
    return true;
  });
}

consulTest("healthCheck() says so, when the servers have no leader", { isLeaderless: true }, async (server) => {
  await using provider = consulProvider({ url: server.url });
  await assert.rejects(provider.healthCheck(soon()), /no leader/i);
  await assert.rejects(provider.acquire(request("group"), soon()), ProviderError);
});

consulTest("a fetch of the caller's knows its own authorities", { isTls: true, isOpen: true }, async (server) => {
  assert.match(server.url, /^consul\+https:/);
  await assert.rejects(consulProvider({ url: server.url }).healthCheck(soon()), ProviderError);
  using client = Deno.createHttpClient({ caCerts: [server.ca ?? ""] });
  await using provider = consulProvider({ url: server.url, fetch: (url, init) => fetch(url, { ...init, client }) });
  await provider.healthCheck(soon());
  assert.equal(await provider.release(await win(provider, "group"), soon()), "released");
});
