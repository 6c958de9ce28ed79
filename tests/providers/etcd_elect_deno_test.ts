/** Participants of ours beside the real `etcdctl elect`, which is Go's `concurrency.Election`, in one election. */

import assert from "node:assert/strict";
import { etcdProvider } from "../../providers/etcd.ts";
import { etcdProgram, type EtcdVersion, startEtcd } from "../servers/etcd.ts";
import { lose, request, soon, win } from "./asking.ts";
import { newGroup } from "./etcd/support.ts";
import { until } from "../until.ts";

function electTest(name: string, work: (url: string, elect: Elect) => Promise<void>): void {
  for (const version of ["3.4", "3.5"] as const) {
    Deno.test(`${name} (etcd ${version})`, async () => {
      const command = await etcdProgram("etcdctl", version).catch(() => null);
      if (command === null) return;
      await using server = await started(version);
      const running: Participant[] = [];
      const elect = (group: string, proposal?: string) => {
        const endpoint = `--endpoints=${server.url.replace("etcd:", "http:")}`;
        const args = [endpoint, "elect", ...(proposal === undefined ? ["--listen"] : []), `multilock/${group}`];
        const participant = new Participant(command, [...args, ...(proposal === undefined ? [] : [proposal])]);
        running.push(participant);
        return participant;
      };
      try {
        await work(server.url, elect);
      } finally {
        await Promise.all(running.map((participant) => participant.end("SIGKILL")));
      }
    });
  }
}

type Elect = (group: string, proposal?: string) => Participant;

async function started(version: EtcdVersion): Promise<AsyncDisposable & { url: string }> {
  const server = await startEtcd({ version });
  return { url: server.url, [Symbol.asyncDispose]: () => server.stop() };
}

/** One `etcdctl elect`: it prints its key and its proposal when it leads; with `--listen`, those of each leader. */
class Participant {
  text = "";
  readonly #process: Deno.ChildProcess;
  readonly #read: Promise<void>;
  #isOver = false;

  constructor(command: string, args: readonly string[]) {
    const running = new Deno.Command(command, { args: [...args], stdin: "null", stdout: "piped", stderr: "null" })
      .spawn();
    this.#process = running;
    this.#read = (async () => {
      for await (const chunk of running.stdout.pipeThrough(new TextDecoderStream())) this.text += chunk;
    })();
  }

  async end(signal: Deno.Signal): Promise<void> {
    if (!this.#isOver) this.#process.kill(signal);
    this.#isOver = true;
    await Promise.all([this.#process.status, this.#read]);
  }
}

/** How many have a key in the election. */
async function queue(url: string, group: string): Promise<number> {
  const body = JSON.stringify({ key: btoa(`multilock/${group}/`), "range_end": btoa(`multilock/${group}0`) });
  const answer = await fetch(`${url.replace("etcd:", "http:")}/v3/kv/range`, { method: "POST", body });
  return Number((await answer.json() as { count?: string }).count ?? 0);
}

electTest("`etcdctl elect` waits while a participant leads, and leads when that gives up", async (url, elect) => {
  await using provider = etcdProvider({ url });
  const lease = await win(provider, request(newGroup()));
  const listener = elect(lease.electionGroup);
  await until("it sees our leader", () => listener.text.includes(lease.termId));
  const waiting = elect(lease.electionGroup, "by-hand");
  await until("it waits", async () => await queue(url, lease.electionGroup) === 2);
  for (let i = 0; i < 5; i++) assert.equal(await provider.renew(lease, soon()), "renewed");
  assert.equal(waiting.text, "", "it must not lead yet");
  assert.equal((await provider.read(lease.electionGroup, soon()))?.termId, lease.termId);
  assert.equal(await provider.release(lease, soon()), "released");
  await until("it leads", () => waiting.text.includes("by-hand"));
  await until("its leader is seen", () => listener.text.includes("by-hand"));
});

electTest("`etcdctl elect` leads when a participant has crashed, not before", async (url, elect) => {
  await using provider = etcdProvider({ url });
  const sentAt = performance.now();
  const lease = await win(provider, request(newGroup(), { heartbeatTimeout: 3_000 }));
  const waiting = elect(lease.electionGroup, "by-hand");
  // Closed while it leads: as if it had crashed, its session is left to expire.
  await provider[Symbol.asyncDispose]();
  await until("it leads", () => waiting.text.includes("by-hand"));
  assert.ok(performance.now() - sentAt > 2_970, "a lease lives as long as promised");
});

electTest("a participant waits while `etcdctl elect` leads, names it, and leads when it ends", async (url, elect) => {
  await using provider = etcdProvider({ url });
  const group = newGroup();
  const leading = elect(group, "by-hand");
  await until("it leads", () => leading.text.includes("by-hand"));
  const leader = await provider.read(group, soon());
  assert.equal(leader?.leaderId, "by-hand");
  assert.ok(leader.token > 0n);
  await lose(provider, request(group));
  assert.equal(await provider.release({ electionGroup: group, termId: leader.termId }, soon()), "notHolder");
  assert.deepEqual(await provider.groups?.(soon()), [group]);
  const stop = new AbortController();
  let hints = 0;
  let token = 0n;
  for await (const _ of provider.watch?.(group, { signal: stop.signal }) ?? []) {
    if (hints++ === 0) await leading.end("SIGINT");
    const answer = await provider.acquire(request(group), soon());
    if (!answer.acquired) continue;
    token = answer.lease.token;
    stop.abort();
  }
  assert.ok(token > leader.token, "tokens grow over leaders of either kind");
});

electTest("those that wait by `etcdctl elect` come before participants, who do not queue", async (url, elect) => {
  await using provider = etcdProvider({ url });
  const group = newGroup();
  const [first, second] = [elect(group, "first"), elect(group, "second")];
  await until("both are there", async () => await queue(url, group) === 2);
  const [leading, waiting] = first.text === "" ? [second, first] : [first, second];
  await lose(provider, request(group));
  await leading.end("SIGINT");
  await until("the next leads", () => waiting.text !== "");
  await lose(provider, request(group));
  await waiting.end("SIGINT");
  await until("the group is free", async () => await queue(url, group) === 0);
  await win(provider, request(group));
});
