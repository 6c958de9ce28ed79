/**
 * What people, networks and Azure itself do to a lease: on Azurite, and on servers that answer as a busy Azure does.
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { after, test } from "node:test";
import {
  type AzureBlob,
  type AzureBlobOptions,
  azureBlobProvider,
  type AzureContainer,
} from "../../providers/azure_blob.ts";
import { openContainer } from "../../providers/azure_blob/client.ts";
import { parseAzureTarget } from "../../providers/azure_blob/target.ts";
import { sleep, systemClock } from "../../src/time/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import type { AcquireRequest, Lease, Provider } from "../../src/provider.ts";
import { backend } from "../servers/backend.ts";

const soon = () => ({ signal: AbortSignal.timeout(20_000) });
const { signal: abortSignal } = new AbortController();
const newGroup = () => `group-${randomUUID()}`;
function request(electionGroup: string, changes: Partial<AcquireRequest> = {}): AcquireRequest {
  const termId = randomUUID();
  return { electionGroup, participantId: "p", termId, heartbeatTimeout: 15_000, metadata: {}, ...changes };
}
async function win(provider: Provider, wanted: AcquireRequest): Promise<Lease> {
  const answer = await provider.acquire(wanted, soon());
  assert.ok(answer.acquired, `"${wanted.electionGroup}" must be free`);
  return answer.lease;
}

/** How an overloaded or failing Azure answers a request. */
const ANSWERS: Readonly<Record<string, (socket: Socket) => void>> = {
  "503 ServerBusy": (socket) => refuse(socket, "503 Service Unavailable", "ServerBusy"),
  "500 InternalError": (socket) => refuse(socket, "500 Internal Server Error", "InternalError"),
  "500 OperationTimedOut": (socket) => refuse(socket, "500 Internal Server Error", "OperationTimedOut"),
  "429 and when to come back": (socket) => refuse(socket, "429 Too Many Requests", "TooManyRequests", "Retry-After: 1"),
  "503 and when to come back": (socket) => refuse(socket, "503 Service Unavailable", "ServerBusy", "Retry-After: 1"),
  "nothing, and closes": (socket) => void socket.end(),
  "nothing, and resets": (socket) => void socket.resetAndDestroy(),
};

function refuse(socket: Socket, status: string, code: string, more = "x-ms-version: 2024-11-04"): void {
  const body = `<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>no</Message></Error>`;
  const head = [`HTTP/1.1 ${status}`, `Content-Length: ${body.length}`, "Content-Type: application/xml"];
  socket.write([...head, `x-ms-error-code: ${code}`, more, "", body].join("\r\n"));
}

for (const [how, answer] of Object.entries(ANSWERS)) {
  test(`a write is sent once, when Azure answers ${how}`, async () => {
    const lines: string[] = [];
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.on("data", (bytes) => {
        lines.push(bytes.toString().split("\r\n", 1)[0] ?? "");
        // The first one is answered, so that the next comes on a connection that was used before.
        if (lines.length === 1) socket.write('HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n');
        else answer(socket);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
    const { port } = server.address() as AddressInfo;
    const provider = azureBlobProvider({ url: `http://127.0.0.1:${port}/devstoreaccount1/locks` });
    const acquiredAt = new Date(0);
    const lease = { ...request("g"), token: 1n, acquiredAt };
    assert.equal(await provider.renew(lease, soon()), "renewed");
    // The driver's own first pause between two tries is four seconds.
    await assert.rejects(provider.renew(lease, { signal: AbortSignal.timeout(6_000) }), ProviderError);
    assert.deepEqual(lines.slice(1), lines.slice(1, 2), "one request, sent once");
    assert.match(lines[1] ?? "", /^PUT .*comp=lease/);
    await provider[Symbol.asyncDispose]();
    server.close();
  });
}

test("a provider that is closed leaves no connection behind", async () => {
  let [open, seen] = [0, 0];
  const server = createServer((socket) => {
    open++;
    seen++;
    socket.on("error", () => {}).on("close", () => open--);
    socket.on("data", () => socket.write('HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: 0\r\n\r\n'));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const { port } = server.address() as AddressInfo;
  const provider = azureBlobProvider({ url: `http://127.0.0.1:${port}/devstoreaccount1/locks` });
  const lease = { ...request("g"), token: 1n, acquiredAt: new Date(0) };
  for (let i = 0; i < 3; i++) assert.equal(await provider.renew(lease, soon()), "renewed");
  assert.ok(open > 0 && seen <= 3);
  await provider[Symbol.asyncDispose]();
  for (let tries = 0; open > 0; tries++) {
    assert.ok(tries < 300, "not within 3 s");
    await sleep(systemClock, 10);
  }
  server.close();
});

const server = backend("azure-blob");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  const opened: Provider[] = [];
  after(() => Promise.all(opened.map((provider) => provider[Symbol.asyncDispose]())));

  function open(options: AzureBlobOptions = { url }): Provider {
    const provider = azureBlobProvider(options);
    opened.push(provider);
    return provider;
  }

  async function blobOf(electionGroup: string) {
    const { container } = await openContainer(parseAzureTarget(url));
    await container.createIfNotExists({ abortSignal });
    return container.getBlockBlobClient(`${electionGroup}.lease`);
  }

  async function overwrite(electionGroup: string, body: string, metadata: Record<string, string>, leaseId?: string) {
    const conditions = leaseId === undefined ? {} : { leaseId };
    await (await blobOf(electionGroup)).upload(body, body.length, { conditions, metadata, abortSignal });
  }

  /** A client whose calls a test sees, and may answer itself. */
  async function spied(see: (call: string, args: readonly unknown[]) => void): Promise<AzureContainer> {
    const { container } = await openContainer(parseAzureTarget(url));
    const spy = <T extends object>(thing: T, name: string): T =>
      new Proxy(thing, {
        get(target, key) {
          const value = Reflect.get(target, key);
          if (typeof value !== "function") return value;
          return (...args: unknown[]) => {
            see(`${name}.${String(key)}`, args);
            const result = value.apply(target, args);
            return key === "getBlobLeaseClient" ? spy(result, "lease") : result;
          };
        },
      });
    return {
      createIfNotExists: (options) => container.createIfNotExists(options),
      listBlobsFlat: (options) => container.listBlobsFlat(options),
      getBlockBlobClient: (name): AzureBlob => spy(container.getBlockBlobClient(name), "blob"),
    };
  }

  // Beyond Azure's time, so that it counts.
  const OLD_TOKEN = "9000000000000000";
  const record = JSON.stringify({
    ...{
      participantId: "old",
      termId: randomUUID(),
      token: OLD_TOKEN,
      acquiredAt: new Date(0),
      heartbeatTimeout: 15_000,
    },
    metadata: {},
  });
  const bodies: readonly [string, string, Record<string, string>][] = [
    ["text", "hello", { token: "7" }],
    ["other JSON", '{"a":1}', { token: "7" }],
    ["null", "null", { token: "7" }],
    ["an array", "[1]", { token: "7" }],
    ["half a record", record.slice(0, 60), { token: "7" }],
    ["a record with a term that is no id", record.replace(/"termId":"[^"]*"/, '"termId":"x\\r\\ny"'), { token: "7" }],
    ["a record with a token that is no number", record.replace(OLD_TOKEN, "nine"), { token: "7" }],
    ["a record with a time that is none", record.replace("1970", "year"), { token: "7" }],
    ["a record, without metadata", record, {}],
    ["nothing", "", { token: "7" }],
    ["nothing, with a token beyond Azure's time", "", { token: OLD_TOKEN }],
    ["a record, with an older token", record, { token: "7" }],
    ["nothing, without metadata", "", {}],
    ["nothing, with a token that is no number", "", { token: "seven" }],
  ];
  for (const [what, body, metadata] of bodies) {
    test(`a blob that people have filled with ${what} is free, and its tokens grow`, async () => {
      const electionGroup = newGroup();
      await overwrite(electionGroup, body, metadata);
      const provider = open();
      assert.equal(await provider.read(electionGroup, soon()), null);
      const lease = await win(provider, request(electionGroup));
      const known = body === record || metadata.token === OLD_TOKEN ? BigInt(OLD_TOKEN) : 7n;
      assert.ok(lease.token > known, `${lease.token} after ${known}`);
      assert.equal((await open().read(electionGroup, soon()))?.token, lease.token);
    });
  }

  test("a leader whose record was overwritten goes on, is not named, and mends it with its next metadata", async () => {
    const [provider, other] = [open(), open()];
    const lease = await win(provider, request(newGroup()));
    const { electionGroup, termId } = lease;
    for (const body of ["hello", record.replace(/"termId":"[^"]*"/, '"termId":"x\\r\\ny"')]) {
      await overwrite(electionGroup, body, { token: String(lease.token) }, termId);
      assert.equal(await other.read(electionGroup, soon()), null);
      assert.deepEqual(await other.acquire(request(electionGroup), soon()), { acquired: false, leader: null });
      assert.equal(await provider.renew(lease, soon()), "renewed");
    }
    assert.equal(await other.renew(lease, { ...soon(), metadata: { a: "1" } }), "renewed");
    const leader = await open().read(electionGroup, soon());
    assert.deepEqual([leader?.termId, leader?.token, leader?.metadata], [termId, lease.token, { a: "1" }]);
  });

  test("a heartbeat with metadata that finds another's record is lost", async () => {
    const [provider, other] = [open(), open()];
    const lease = await win(provider, request(newGroup()));
    const old = { ...JSON.parse(record), token: String(lease.token + 1n) };
    await overwrite(lease.electionGroup, JSON.stringify(old), { token: old.token }, lease.termId);
    assert.equal(await other.renew(lease, { ...soon(), metadata: { a: "1" } }), "lost");
    const blob = await blobOf(lease.electionGroup);
    await overwrite(lease.electionGroup, "hello", { token: String(lease.token + 1n) }, lease.termId);
    assert.equal(
      await open().renew(lease, { ...soon(), metadata: { a: "1" } }),
      "lost",
      "a later term's token says so too",
    );
    await blob.getBlobLeaseClient(lease.termId).releaseLease({ abortSignal });
  });

  test("fifty renewals of one lease at once all succeed, and the last metadata stays", async () => {
    const provider = open();
    const lease = await win(provider, request(newGroup()));
    const plain = await Promise.all(Array.from({ length: 50 }, () => provider.renew(lease, soon())));
    assert.deepEqual(new Set(plain), new Set(["renewed"]));
    const described = await Promise.all(
      Array.from({ length: 50 }, (_, i) => provider.renew(lease, { ...soon(), metadata: { n: String(i) } })),
    );
    assert.deepEqual(new Set(described), new Set(["renewed"]));
    assert.deepEqual((await open().read(lease.electionGroup, soon()))?.metadata, { n: "49" });
  });

  test("a lease lasts at least as long as it was asked for, in the whole seconds that Azure knows", async () => {
    for (const [asked, seconds] of [[15_000, 15], [15_001, 16], [15_400, 16], [15_900, 16], [59_001, 60]] as const) {
      const durations: unknown[] = [];
      const client = await spied((call, [duration]) => {
        if (call === "lease.acquireLease") durations.push(duration);
      });
      const provider = open({ client });
      const lease = await win(provider, request(newGroup(), { heartbeatTimeout: asked }));
      assert.deepEqual(durations, [seconds]);
      assert.equal((await open().read(lease.electionGroup, soon()))?.expiresIn, seconds * 1_000);
    }
  });

  test("a lease that is breaking is held, and its holder has lost it", async () => {
    const [provider, other] = [open(), open()];
    const lease = await win(provider, request(newGroup()));
    const blob = await blobOf(lease.electionGroup);
    const breaking = blob.getBlobLeaseClient(lease.termId) as unknown as { breakLease(s: number): Promise<unknown> };
    await breaking.breakLease(10);
    for (const each of [other, open()]) {
      const answer = await each.acquire(request(lease.electionGroup), soon());
      assert.equal(answer.acquired, false);
    }
    assert.equal(await provider.renew(lease, soon()), "lost");
    // Azure's own answer is another than Azurite's.
    const client = await spied((call) => {
      const refusal = { statusCode: 409, code: "LeaseIsBreakingAndCannotBeAcquired" };
      if (call === "lease.acquireLease") throw Object.assign(new Error("no"), refusal);
    });
    assert.deepEqual(await open({ client }).acquire(request(lease.electionGroup), soon()), {
      acquired: false,
      leader: null,
    });
    await breaking.breakLease(0);
    assert.ok((await win(other, request(lease.electionGroup))).token > lease.token);
  });

  test("metadata that Azure refuses does not cost the renewal, and an error that passes is one", async () => {
    let status = 0;
    const client = await spied((call) => {
      if (call === "blob.upload" && status > 0) {
        throw Object.assign(new Error("no"), { statusCode: status, code: "No" });
      }
    });
    const warnings: string[] = [];
    const quiet = () => {};
    const logger = { debug: quiet, info: quiet, error: quiet, warn: (message: string) => void warnings.push(message) };
    const provider = open({ client, logger });
    const lease = await win(provider, request(newGroup(), { metadata: { a: "1" } }));
    for (status of [400, 403, 409, 413]) {
      assert.equal(await provider.renew(lease, { ...soon(), metadata: { a: "2" } }), "renewed");
    }
    assert.equal(warnings.length, 4);
    for (status of [408, 429, 500, 503]) {
      await assert.rejects(provider.renew(lease, { ...soon(), metadata: { a: "2" } }), ProviderError);
    }
    status = 0;
    assert.deepEqual((await open().read(lease.electionGroup, soon()))?.metadata, { a: "1" });
    assert.equal(await provider.renew(lease, { ...soon(), metadata: { a: "3" } }), "renewed");
    assert.deepEqual((await open().read(lease.electionGroup, soon()))?.metadata, { a: "3" });
  });
}
