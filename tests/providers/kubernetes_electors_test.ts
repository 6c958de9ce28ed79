/** The Kubernetes provider beside the elector of client-go itself, as components of Kubernetes have it. */

import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, test } from "node:test";
import { LeaderElection } from "../../src/election.ts";
import type { Lease, Provider } from "../../src/provider.ts";
import { sleep, systemClock } from "../../src/time/clock.ts";
import { kubernetesPrograms } from "../servers/kubernetes_build.ts";
import type { KubernetesServer } from "../servers/kubernetes.ts";
import { slowness } from "../slowness.ts";
import { lose, request, soon, win } from "./asking.ts";
import { newGroup, Opened, Watch } from "./kubernetes/fixture.ts";
import { ownServer } from "./kubernetes/own_server.ts";
import { until } from "../until.ts";

/** The length of a lease that is meant to expire, in whole seconds: longer on a slow machine, where a renewal takes. */
const SECONDS = Math.ceil(Math.min(3 * slowness(), 8));
const LEASE_MS = SECONDS * 1_000;

/** An elector, and what it says. */
class Elector {
  readonly #child: ChildProcess;
  #said = "";

  constructor(program: string, args: readonly string[]) {
    this.#child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on("data", (chunk: Uint8Array) => this.#said += new TextDecoder().decode(chunk));
    }
  }

  /** Whether it leads, as far as it has said. */
  get leads(): boolean {
    return this.says("leads") && !this.says("stopped") && this.#child.exitCode === null;
  }

  says(line: string): boolean {
    return this.#said.split("\n").includes(line);
  }

  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill(signal);
    await exited;
  }
}

const start = await ownServer();
if (start !== null) testElectors(start);

function testElectors(start: () => Promise<KubernetesServer>): void {
  const electors: Elector[] = [];
  const opened: Opened[] = [];
  after(() =>
    Promise.all([...electors.map((each) => each.end("SIGKILL")), ...opened.map((each) => each[Symbol.asyncDispose]())])
  );

  /** Starts an elector on a group, with a lease of so many seconds. */
  async function elector(electionGroup: string, identity: string, seconds = SECONDS): Promise<Elector> {
    const server = await start();
    const [{ elector: program }, token] = [await kubernetesPrograms(), await electorToken()];
    const config = join(server.directory, `kubeconfig-${crypto.randomUUID()}`);
    const [name, cluster] = ["x", { server: `https://${server.address}`, "certificate-authority": server.files.ca }];
    await writeFile(
      config,
      JSON.stringify({
        ...{ apiVersion: "v1", kind: "Config", "current-context": name },
        ...{ clusters: [{ name, cluster }], users: [{ name, user: { tokenFile: token } }] },
        contexts: [{ name, context: { cluster: name, user: name } }],
      }),
    );
    const times = [`${seconds}s`, `${seconds * 700}ms`, "300ms"];
    const started = new Elector(program, [config, "elections", electionGroup, identity, ...times]);
    electors.push(started);
    return started;
  }

  let token: Promise<string> | null = null;
  function electorToken(): Promise<string> {
    const verbs = ["get", "create", "update"];
    return token ??= start().then((server) =>
      server.user([{ apiGroups: ["coordination.k8s.io"], resources: ["leases"], verbs }])
    );
  }

  async function open(): Promise<Provider> {
    const providers = new Opened((await start()).url);
    opened.push(providers);
    return providers.open();
  }

  /** Renews a lease all the time, for two of its lengths. */
  async function renewAWhile(provider: Provider, lease: Lease): Promise<void> {
    for (const began = systemClock.monotonic(); systemClock.monotonic() - began < 2 * LEASE_MS;) {
      assert.equal(await provider.renew(lease, soon()), "renewed");
      await sleep(systemClock, LEASE_MS / 10);
    }
  }

  test("an elector follows our term while it is renewed, and takes over when it stands still", async () => {
    const provider = await open();
    const asked = request(newGroup(), { heartbeatTimeout: LEASE_MS, participantId: "ours", metadata: { a: "b" } });
    const lease = await win(provider, asked);
    const peer = await elector(lease.electionGroup, "theirs");
    await until("it sees our term", () => peer.says("sees ours"));
    await renewAWhile(provider, lease);
    assert.ok(!peer.says("leads"), "we have led for two leases");
    const stoppedAt = systemClock.monotonic();
    await until("it takes over", () => peer.says("leads"), 60_000);
    const afterMs = systemClock.monotonic() - stoppedAt;
    assert.ok(afterMs > LEASE_MS * 0.7, `it waited ${afterMs} ms for a lease of ${LEASE_MS}`);
    assert.equal(await provider.renew(lease, soon()), "lost");
    const leader = await provider.read(lease.electionGroup, soon());
    assert.ok(leader?.leaderId === "theirs" && leader.token > lease.token);
    assert.deepEqual(leader.metadata, {}, "it has kept our annotations, which say nothing any more");
    await peer.end("SIGKILL");
  });

  test("we follow an elector while it renews, and take over when it has died", async () => {
    const [provider, electionGroup] = [await open(), newGroup()];
    const peer = await elector(electionGroup, "theirs");
    await until("it leads", () => peer.says("leads"));
    const asked = request(electionGroup, { heartbeatTimeout: LEASE_MS });
    const first = await provider.read(electionGroup, soon());
    for (const began = systemClock.monotonic(); systemClock.monotonic() - began < 2 * LEASE_MS;) {
      await lose(provider, asked);
      await sleep(systemClock, LEASE_MS / 10);
    }
    const last = await provider.read(electionGroup, soon());
    assert.ok(first !== null && first.token > 0n);
    assert.deepEqual([last?.termId, last?.token], [first.termId, first.token], "its term goes on");
    await peer.end("SIGKILL");
    await until("we take over", async () => (await provider.acquire(asked, soon())).acquired, 60_000);
    assert.ok(((await provider.read(electionGroup, soon()))?.token ?? 0n) > first.token);
    assert.equal(await provider.release(asked, soon()), "released");
  });

  // Leases of an hour: nobody waits for one of them.
  test("what an elector gives back is a hint, and ours at once", async () => {
    const [provider, electionGroup] = [await open(), newGroup()];
    const peer = await elector(electionGroup, "theirs", 3_600);
    await until("it leads", () => peer.says("leads"));
    const watch = new Watch(provider, electionGroup);
    await until("we watch it", () => watch.hints > 0);
    await lose(provider, request(electionGroup));
    const seen = watch.hints;
    await peer.end("SIGTERM");
    await until("it is a hint", () => watch.hints > seen);
    await win(provider, request(electionGroup));
    await watch.end();
  });

  test("what we give back is an elector's at once, and ours again", async () => {
    const [provider, electionGroup] = [await open(), newGroup()];
    let token = 0n;
    for (const heartbeatTimeout of [3_600_000, 7_200_000]) {
      const asked = request(electionGroup, { heartbeatTimeout, participantId: "ours" });
      const lease = await win(provider, asked);
      assert.ok(lease.token > token, "also over a term of theirs");
      token = lease.token;
      const peer = await elector(electionGroup, `theirs-${heartbeatTimeout}`, 3_600);
      await until("it sees our term", () => peer.says("sees ours"));
      assert.equal(await provider.release(lease, soon()), "released");
      await until("it leads", () => peer.says("leads"));
      await lose(provider, asked);
      await peer.end("SIGTERM");
      assert.ok(peer.says("stopped"));
    }
  });

  test("participants and electors hand one Lease on among them, and never do two lead", async () => {
    const [provider, electionGroup] = [await open(), newGroup()];
    const timing = { heartbeatTimeout: LEASE_MS, heartbeatInterval: LEASE_MS / 6, electionInterval: 500, logger: null };
    const ours = ["one", "two"].map((participantId) => {
      return new LeaderElection(provider, { electionGroup, participantId, ...timing });
    });
    let [count, token] = [0, 0n];
    // An elector that is told to end in the middle of a heartbeat may fail to give back: then its lease has to expire.
    let theirs = await Promise.all(["x", "y"].map((name) => elector(electionGroup, name)));
    const leads = () => [...ours.filter(({ isLeader }) => isLeader), ...theirs.filter((each) => each.leads)];
    const turns = new Set<string>();
    try {
      await Promise.all(ours.map((each) => each.start()));
      // An elector asks anew only now and then: it gets its turn while ours cool down.
      for (let turn = 0; turn < 12; turn++) {
        await until("somebody leads", () => {
          assert.ok(leads().length < 2, "two lead");
          return leads().length === 1;
        });
        const [leader] = leads();
        turns.add(leader instanceof Elector ? "theirs" : "ours");
        const seen = await provider.read(electionGroup, soon());
        assert.ok(seen !== null && seen.token > token, `token must grow: ${seen?.token} came after ${token}`);
        token = seen.token;
        if (leader instanceof Elector) {
          await leader.end("SIGTERM");
          theirs = theirs.filter((each) => each !== leader);
          theirs.push(await elector(electionGroup, `z-${count++}`));
        } else {
          await leader?.releaseLeadership({ cooldown: turn % 2 === 0 ? "2s" : 0 });
        }
      }
    } finally {
      await Promise.all([...ours.map((each) => each.stop()), ...theirs.map((each) => each.end("SIGKILL"))]);
    }
    assert.equal(turns.size, 2, `each side must have had its turn: ${[...turns].join()} alone`);
  });
}
