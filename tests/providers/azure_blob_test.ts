/** The Azure Blob Storage provider against Azurite. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
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
import { openProvider } from "../../src/registry.ts";
import { type ConformanceCase, conformanceCases } from "../../testing/conformance.ts";
import { backend, detourTo } from "../servers/backend.ts";

const KEY = "c2VjcmV0";
const tls = {};

test("azureBlobProvider() reads account, container, prefix and credentials from its URL", () => {
  const key = { account: "acc", value: KEY };
  const url = "https://acc.blob.core.windows.net/locks";
  assert.deepEqual(parseAzureTarget("azblob://acc/locks", KEY), { url, prefix: "", key, tls });
  assert.deepEqual(parseAzureTarget(`azblob://acc:${KEY}@acc/locks/a/b`), { url, prefix: "a/b/", key, tls });
  assert.deepEqual(parseAzureTarget(`${url}?accountKey=${KEY}`), { url, prefix: "", key, tls });
  assert.equal(parseAzureTarget("azblob://acc", KEY).url, "https://acc.blob.core.windows.net/multilock");
  assert.equal(parseAzureTarget("https://acc.blob.core.chinacloudapi.cn/locks", KEY).key?.account, "acc");
  const signed = parseAzureTarget(`${url}/team?sv=2024-11-04&sig=abc%2B`);
  assert.deepEqual(signed, { url: `${url}?sv=2024-11-04&sig=abc%2B`, prefix: "team/", key: null, tls });
  const emulator = parseAzureTarget("http://127.0.0.1:10000/devstoreaccount1/locks");
  assert.equal(emulator.url, "http://127.0.0.1:10000/devstoreaccount1/locks");
  assert.equal(emulator.key?.account, "devstoreaccount1", "whose key everybody knows");
});

test("azureBlobProvider() reads connection strings", () => {
  const one = parseAzureTarget(
    `DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=${KEY}==;EndpointSuffix=core.windows.net`,
  );
  assert.deepEqual(one, {
    ...{
      url: "https://acc.blob.core.windows.net/multilock",
      prefix: "",
      key: { account: "acc", value: `${KEY}==` },
      tls,
    },
  });
  const two = parseAzureTarget(
    "BlobEndpoint=https://acc.blob.core.windows.net/;SharedAccessSignature=sv=1&sig=x;Container=locks/a",
  );
  assert.deepEqual(two, { url: "https://acc.blob.core.windows.net/locks?sv=1&sig=x", prefix: "a/", key: null, tls });
  const three = parseAzureTarget("UseDevelopmentStorage=true");
  assert.equal(three.url, "http://127.0.0.1:10000/devstoreaccount1/multilock");
});

test("azureBlobProvider() refuses a setting that nobody knows, and names the nearest", () => {
  const [account, key] = ["azblob://acc/locks", `AccountName=acc;AccountKey=${KEY}`];
  const bad: readonly [AzureBlobOptions, RegExp][] = [
    [{ url: `${account}?acountKey=${KEY}` }, /setting "acountKey".*"accountKey"/],
    [{ url: `${account}?accountKey=${KEY}&accountKey=${KEY}` }, /twice/],
    [{ url: `${account}?sv=1&sig=${KEY}&sge=1` }, /setting "sge"/],
    [{ url: `http://127.0.0.1:1/acc/locks?accountKey=${KEY}&ca=a.pem` }, /"ca" needs https/],
    [{ url: `${account}?accountKey=${KEY}&cert=a.pem` }, /cert and key/],
    [{ url: `${key};Contaner=a` }, /setting "Contaner".*"Container"/],
    [{ url: `${key};accountkey=${KEY}` }, /"AccountKey" twice/],
    [{ url: `${key};nonsense` }, /NAME=VALUE/],
    [{ url: account, accountKey: `${KEY}!` }, /base64/],
    [{ url: account, acountKey: KEY } as AzureBlobOptions, /option "acountKey".*"accountKey"/],
    [account as AzureBlobOptions, /options must be an object/],
  ];
  for (const [options, why] of bad) {
    assert.throws(() => azureBlobProvider(options), (error) => {
      assert.ok(error instanceof TypeError && !error.message.includes(KEY), String(error));
      assert.match(error.message, why);
      return true;
    });
  }
  const plus = "azblob://acc/locks?accountKey=a+b/";
  assert.equal(parseAzureTarget(plus).key?.value, "a+b/", "base64 has no blanks");
});

test("azureBlobProvider() refuses a client that sends requests again by itself", async () => {
  const { ContainerClient, newPipeline, AnonymousCredential } = await import("@azure/storage-blob");
  const url = "https://acc.blob.core.windows.net/locks";
  const credential = new AnonymousCredential();
  const clients = [undefined, {}, { maxTries: 2 }].map((retryOptions) =>
    new ContainerClient(url, newPipeline(credential, retryOptions === undefined ? {} : { retryOptions }))
  );
  for (const client of [...clients, new ContainerClient(url, credential)]) {
    assert.throws(() => azureBlobProvider({ client: client as AzureContainer }), /maxTries: 1/);
  }
  const client = new ContainerClient(url, credential, { retryOptions: { maxTries: 1 } }) as AzureContainer;
  azureBlobProvider({ client });
  assert.throws(() => azureBlobProvider({ client, url }), /client has its url/);
});

test("openProvider() takes URLs of Azure's hosts and of emulators, and leaves the rest of the web alone", async () => {
  const signed = "?sv=1&sig=abc";
  const ours = [
    ...["acc.blob.core.windows.net", "acc.blob.core.chinacloudapi.cn", "acc.blob.core.usgovcloudapi.net"],
    ...["acc.blob.core.cloudapi.de", "acc.z10.blob.storage.azure.net", "azurite.example:10000/devstoreaccount1"],
  ];
  for (const host of ours) {
    await using provider = await openProvider(`https://${host}/locks${signed}`);
    assert.equal(provider.name, "azure-blob");
  }
  const theirs = [
    ...["https://example.com/locks", "http://localhost:8500", "https://acc.blob.core.windows.net.evil.example/locks"],
    ...["https://evil.example/acc.blob.core.windows.net", "https://acc.queue.core.windows.net/locks"],
  ];
  for (const url of theirs) await assert.rejects(openProvider(`${url}${signed}`), /no provider is registered/, url);
});

test("azureBlobProvider() throws without naming the key, when it could not work", () => {
  const bad = [
    "azblob://acc/locks",
    "ftp://acc/locks",
    `azblob://acc:${KEY}@acc/UPPER`,
    "AccountKey=c2VjcmV0;Container=a",
    "http://127.0.0.1:1/",
  ];
  for (const url of bad) {
    assert.throws(
      () => azureBlobProvider({ url }),
      (error) => error instanceof TypeError && !error.message.includes(KEY),
      url,
    );
  }
  assert.throws(() => azureBlobProvider({}), TypeError);
});

const server = backend("azure-blob");
if (server !== null) {
  const target = { name: "azure-blob", open: () => azureBlobProvider({ url: server.url }) };
  const detour = detourTo("azure-blob", (url) => azureBlobProvider({ url }));
  const undisturbed = conformanceCases(target);
  const names = new Set(undisturbed.map(({ name }) => name));
  for (const { name, run } of together(undisturbed)) test(name, { timeout: 180_000 }, run);
  // Those that kill and freeze the server, or hold back calls, want it for themselves.
  for (const { name, run } of conformanceCases({ ...target, ...detour, faults: server.faults })) {
    if (!names.has(name)) test(name, { timeout: 180_000 }, run);
  }
  testServer(server.url);
}

/** Runs eight cases at a time from the first one on, since they do little but wait for leases of fifteen seconds. */
function together(cases: readonly ConformanceCase[]): ConformanceCase[] {
  // The longest are the last.
  const open = [...cases].reverse();
  const runs = new Map<string, Promise<void>>();
  let started: Promise<unknown> | null = null;
  async function work(): Promise<void> {
    for (let next = open.pop(); next !== undefined; next = open.shift()) {
      const run = next.run();
      runs.set(next.name, run);
      await run.catch(() => {});
    }
  }
  return cases.map(({ name }) => ({
    name,
    async run() {
      started ??= Promise.all(Array.from({ length: 8 }, work));
      while (!runs.has(name)) await sleep(systemClock, 10);
      await runs.get(name);
    },
  }));
}

function testServer(url: string): void {
  const opened: Provider[] = [];
  after(() => Promise.all(opened.map((provider) => provider[Symbol.asyncDispose]())));

  function open(options: AzureBlobOptions = { url }): Provider {
    const provider = azureBlobProvider(options);
    opened.push(provider);
    return provider;
  }
  const soon = () => ({ signal: AbortSignal.timeout(20_000) });
  const abortSignal = new AbortController().signal;
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
  const newContainer = () => url.replace(/[^/]+$/, `c-${randomUUID()}`);

  /** A client that counts its calls, and lets a test fail some. */
  async function spied(
    calls: string[],
    fail: (call: string) => boolean | Promise<void> = () => false,
    at = url,
  ): Promise<AzureContainer> {
    const { container } = await openContainer(parseAzureTarget(at));
    async function note<T>(call: string, work: () => Promise<T>): Promise<T> {
      calls.push(call);
      if (await fail(call)) throw new Error(`${call} is cut off`);
      return await work();
    }
    return {
      createIfNotExists: (options) => note("create", () => container.createIfNotExists(options)),
      listBlobsFlat: (options) => container.listBlobsFlat(options),
      getBlockBlobClient(name): AzureBlob {
        const blob = container.getBlockBlobClient(name);
        return {
          upload: (...args) => note("upload", () => blob.upload(...args)),
          download: (...args) => note("download", () => blob.download(...args)),
          getProperties: (...args) => note("head", () => blob.getProperties(...args)),
          getBlobLeaseClient(id) {
            const lease = blob.getBlobLeaseClient(id);
            return {
              acquireLease: (...args) => note("lease", () => lease.acquireLease(...args)),
              renewLease: (...args) => note("renew", () => lease.renewLease(...args)),
              releaseLease: (...args) => note("release", () => lease.releaseLease(...args)),
            };
          },
        };
      },
    };
  }

  test("each operation takes as few calls as it says", async () => {
    const [mine, theirs]: [string[], string[]] = [[], []];
    const [provider, other] = [open({ client: await spied(mine) }), open({ client: await spied(theirs) })];
    const first = await win(provider, request(newGroup()));
    const { electionGroup } = first;
    const taken = (calls: string[]) => calls.splice(0).join(" ");
    taken(mine);
    assert.equal(await provider.release(first, soon()), "released");
    assert.equal(taken(mine), "release");
    const second = await win(provider, request(electionGroup));
    assert.equal(taken(mine), "lease upload", "won, after an earlier look");
    assert.equal(await provider.renew(second, soon()), "renewed");
    assert.equal(taken(mine), "renew");
    assert.ok(!(await other.acquire(request(electionGroup), soon())).acquired);
    assert.equal(taken(theirs), "download head", "lost, at first sight");
    for (let i = 0; i < 2; i++) assert.ok(!(await other.acquire(request(electionGroup), soon())).acquired);
    await other.read(electionGroup, soon());
    assert.equal(taken(theirs), "download download download", "lost to a holder that is known, and without a write");
    await provider.release(second, soon());
    await win(other, request(electionGroup));
    assert.equal(taken(theirs), "download lease upload");
    await win(open({ client: await spied(mine) }), request(first.electionGroup + "-2"));
  });

  test("a claim that was not written is not reported, frees itself, and is finished by its own term", async () => {
    let cuts = false;
    const claimant = open({ client: await spied([], (call) => cuts && call === "upload") });
    const [other, observer] = [open(), open()];
    const old = await win(other, request(newGroup()));
    await other.release(old, soon());
    const { electionGroup } = old;
    const [crashed, stubborn] = [request(electionGroup), request(`${electionGroup}-2`)];
    await other.release(await win(other, request(stubborn.electionGroup)), soon());
    cuts = true;
    await assert.rejects(claimant.acquire(crashed, soon()), ProviderError);
    await assert.rejects(claimant.acquire(stubborn, soon()), ProviderError);
    const start = systemClock.monotonic();
    cuts = false;
    // The lease is taken, and the blob still names the term before it.
    for (const provider of [observer, other]) {
      assert.equal(await provider.read(electionGroup, soon()), null);
      assert.deepEqual(await provider.acquire(request(electionGroup), soon()), { acquired: false, leader: null });
    }
    assert.equal(await other.renew(old, soon()), "lost");
    const finished = await win(claimant, stubborn);
    assert.equal((await observer.read(stubborn.electionGroup, soon()))?.token, finished.token);
    for (;;) {
      const answer = await other.acquire(request(electionGroup), soon());
      const age = systemClock.monotonic() - start;
      if (answer.acquired) {
        assert.ok(age > 14_000, `taken after ${age} ms`);
        assert.ok(answer.lease.token > old.token);
        break;
      }
      assert.ok(age < 20_000, "a claim that was given up must run out");
      await sleep(systemClock, 250);
    }
  });

  test("a claim that is written late changes nothing", async () => {
    let held: Promise<void> | null = null;
    const client = await spied([], (call) => {
      if (call !== "upload" || held === null) return false;
      const until = held;
      held = null;
      return until;
    });
    const provider = open({ client });
    const lease = await win(provider, request(newGroup()));
    await provider.release(lease, soon());
    let letGo = () => {};
    held = new Promise((resolve) => letGo = resolve);
    const wanted = request(lease.electionGroup);
    const late = provider.acquire(wanted, soon());
    while (held !== null) await sleep(systemClock, 5);
    // Azure's clock in answers counts seconds: in the next one, the same term would get a larger token.
    await sleep(systemClock, 1_100);
    const claimed = await win(provider, wanted);
    letGo();
    const answer = await late;
    assert.ok(answer.acquired && answer.lease.token === claimed.token, "the term has one token");
    assert.equal((await open().read(lease.electionGroup, soon()))?.token, claimed.token);
  });

  test("acquire() makes the container once, however many ask, and again when it is gone", async () => {
    const at = newContainer();
    const calls: string[] = [];
    const clients = await Promise.all(
      Array.from({ length: 6 }, async () => open({ client: await spied(calls, undefined, at) })),
    );
    const leases = await Promise.all(clients.map((client, i) => win(client, request(`group-${i}`))));
    assert.deepEqual((await clients[0]?.groups?.(soon()))?.sort(), leases.map((_, i) => `group-${i}`));
    // With the container everything is gone, and still the tokens grow, by Azure's own clock.
    const { container } = await openContainer(parseAzureTarget(at));
    await (container as AzureContainer & { delete(): Promise<unknown> }).delete();
    const [client, lease] = [clients[0], leases[0]];
    assert.ok(client && lease);
    assert.equal(await client.read("group-0", soon()), null);
    assert.equal(await client.renew(lease, soon()), "lost");
    assert.equal(await client.release(lease, soon()), "notHolder");
    assert.deepEqual(await client.groups?.(soon()), []);
    await sleep(systemClock, 1_100);
    const next = await win(client, request("group-0"));
    assert.ok(next.token > lease.token, `${next.token} came after ${lease.token}`);
  });

  test("a lease of somebody else's is respected, and so is a blob that is none of ours", async () => {
    const provider = open();
    const electionGroup = newGroup();
    await provider.release(await win(provider, request(electionGroup)), soon());
    const { container } = await openContainer(parseAzureTarget(url));
    const blob = container.getBlockBlobClient(`${electionGroup}.lease`);
    const stranger = blob.getBlobLeaseClient(randomUUID());
    // Without an end, as a person may have taken it.
    await stranger.acquireLease(-1, { abortSignal });
    assert.deepEqual(await provider.acquire(request(electionGroup), soon()), { acquired: false, leader: null });
    assert.equal(await provider.read(electionGroup, soon()), null);
    await stranger.releaseLease({ abortSignal });
    await win(provider, request(electionGroup));

    const precious = container.getBlockBlobClient(`${electionGroup}-2.lease`);
    await precious.upload("precious", 8, { conditions: {}, metadata: { owner: "me" }, abortSignal });
    await assert.rejects(provider.acquire(request(`${electionGroup}-2`), soon()), /holds something that is no lease/);
    await assert.rejects(provider.read(`${electionGroup}-2`, soon()), ProviderError);
    await precious.upload("", 0, { conditions: {}, metadata: { token: "7" }, abortSignal });
    assert.ok((await win(provider, request(`${electionGroup}-2`))).token > 7n, "it has cleared");
  });

  test("renew() with metadata writes under the lease, and is lost with it", async () => {
    const [provider, other] = [open(), open()];
    const lease = await win(provider, request(newGroup()));
    // By a client that has never seen the blob, too.
    assert.equal(await other.renew(lease, { ...soon(), metadata: { a: "1" } }), "renewed");
    assert.equal(await provider.renew(lease, { ...soon(), metadata: { a: "2" } }), "renewed");
    assert.deepEqual((await other.read(lease.electionGroup, soon()))?.metadata, { a: "2" });
    assert.equal(await provider.release(lease, soon()), "released");
    assert.equal(await provider.renew(lease, { ...soon(), metadata: { a: "3" } }), "lost");
  });

  test("acquire() gives a term that was released a larger token, when it asks again", async () => {
    const [provider, other] = [open(), open()];
    const asked = request(newGroup());
    const first = await win(provider, asked);
    assert.equal(await other.release(first, soon()), "released");
    const second = await win(provider, asked);
    assert.ok(second.token > first.token, `${second.token} after ${first.token}`);
    assert.equal((await win(provider, asked)).token, second.token, "held, it keeps it");
    assert.equal(await provider.release(second, soon()), "released");
    assert.ok((await win(provider, asked)).token > second.token);
  });

  test("acquire() that is cut off, of a term that was released, is not taken for the grant that has ended", async () => {
    let uploads = -Infinity;
    const claimant = open({ client: await spied([], (call) => call === "upload" && ++uploads === 2) });
    const other = open();
    const asked = request(newGroup());
    const first = await win(claimant, asked);
    assert.equal(await other.release(first, soon()), "released");
    // The first empties the record, the second would write the claim.
    uploads = 0;
    await assert.rejects(claimant.acquire(asked, soon()), ProviderError);
    assert.equal(await other.read(asked.electionGroup, soon()), null);
    assert.deepEqual(await other.acquire(request(asked.electionGroup), soon()), { acquired: false, leader: null });
    const second = await win(claimant, asked);
    assert.ok(second.token > first.token);
    assert.equal((await other.read(asked.electionGroup, soon()))?.token, second.token);
  });

  test("healthCheck() makes what elections need, and says what is wrong", async () => {
    const provider = open({ url: newContainer() });
    await provider.healthCheck(soon());
    assert.deepEqual(await provider.groups?.(soon()), []);
    const wrong = open({ url, accountKey: btoa("wrong") });
    await assert.rejects(wrong.healthCheck(soon()), (error) => {
      assert.ok(error instanceof ProviderError && error.operation === "healthCheck");
      assert.match(error.message, /AuthorizationFailure|AuthenticationFailed/);
      assert.ok(!error.message.includes(btoa("wrong")));
      return true;
    });
  });

  test("a shared access signature is enough, and openProvider() takes URLs and connection strings", async () => {
    const { key, url: containerUrl } = parseAzureTarget(url);
    assert.ok(key !== null);
    const { ContainerClient, StorageSharedKeyCredential } = await import("@azure/storage-blob");
    const credential = new StorageSharedKeyCredential(key.account, key.value);
    const permissions = { read: true, write: true, create: true, list: true, toString: () => "rcwl" };
    const expiresOn = new Date(systemClock.wall() + 3_600_000);
    const signed = await new ContainerClient(containerUrl, credential).generateSasUrl({
      permissions: permissions as never,
      expiresOn,
    });
    const { origin } = new URL(url);
    const targets = [
      signed,
      `BlobEndpoint=${origin}/${key.account};AccountName=${key.account};AccountKey=${key.value};Container=elections`,
    ];
    for (const target of targets) {
      await using provider = await openProvider(target);
      assert.equal(provider.name, "azure-blob");
      await provider.healthCheck(soon());
      const lease = await win(provider, request(newGroup()));
      assert.equal(await provider.renew(lease, soon()), "renewed");
      assert.equal(await provider.release(lease, soon()), "released");
    }
  });
}
