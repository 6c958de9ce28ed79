/** Three members of etcd that form a cluster, each to be killed, frozen, restarted, and cut off from the others. */

import { mkdir } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { patience } from "../slowness.ts";
import { until } from "../until.ts";
import { etcdProgram, type EtcdVersion, healthy } from "./etcd.ts";
import { freePorts, removeDirectory, type ServerProcess, startProcess, temporaryDirectory } from "./process.ts";

/** One member. */
export interface EtcdMember extends ServerProcess {
  /** `HOST:PORT` at which it serves clients. */
  readonly address: string;
  /** Cuts it off from the others; its clients still reach it. */
  cutOff(): void;
  /** Ends that. */
  join(): void;
}

/** A cluster. */
export interface EtcdCluster {
  /** What the provider opens: all members. */
  readonly url: string;
  readonly members: readonly EtcdMember[];
  /** Returns the member that leads, when those of `among` agree on one. */
  leader(among?: readonly EtcdMember[]): Promise<EtcdMember>;
  /** Adds a member without a vote, and returns its address. Once. */
  learner(): Promise<string>;
  /** Ends them all and removes their data. */
  stop(): Promise<void>;
}

const SIZE = 3;
const READY_MS = 60_000;

/** Starts a cluster of three; returns when it answers. */
export async function startEtcdCluster(version: EtcdVersion = "3.5"): Promise<EtcdCluster> {
  const command = await etcdProgram("etcd", version);
  const root = await temporaryDirectory("etcd-cluster");
  const cut = new Set<number>();
  const raftIds: string[] = [];
  const beside: ServerProcess[] = [];
  const isShut = (i: number) => (raftId: string) => cut.has(i) || cut.has(raftIds.indexOf(raftId));
  // The others reach a member through a door of its own, which tells who comes by what a member sends first.
  const doors = await Promise.all(Array.from({ length: SIZE }, (_, i) => Door.open(isShut(i))));
  const ports = await freePorts(SIZE * 3);
  const peers = doors.map(({ port }, i) => `m${i}=http://127.0.0.1:${port}`).join(",");
  /** Starts one that others reach at `door`, as one of `peers`. */
  const startMember = async (name: string, own: number[], door: number, peers: string, more: string[] = []) => {
    const [client = 0, peer = 0, metrics = 0] = own;
    const directory = join(root, name);
    await mkdir(directory);
    const url = `http://127.0.0.1:${client}`;
    const args = [
      ...["--name", name, "--data-dir", join(directory, "data"), "--logger", "zap", "--log-level", "warn", ...more],
      ...["--listen-client-urls", url, "--advertise-client-urls", url, "--initial-cluster", peers],
      ...["--listen-peer-urls", `http://127.0.0.1:${peer}`, "--listen-metrics-urls", `http://127.0.0.1:${metrics}`],
      ...["--initial-advertise-peer-urls", `http://127.0.0.1:${door}`],
    ];
    const server = await startProcess({ command, args, directory, ready: () => healthy(metrics) });
    return { ...server, address: `127.0.0.1:${client}` };
  };
  const members = await Promise.all(doors.map(async (door, i): Promise<EtcdMember> => {
    const own = ports.slice(i * 3, i * 3 + 3);
    door.target = own[1] ?? 0;
    return {
      ...await startMember(`m${i}`, own, door.port, peers),
      cutOff() {
        cut.add(i);
        for (const door of doors) door.shut();
      },
      join: () => void cut.delete(i),
    };
  }));
  for (const [i, { address }] of members.entries()) raftIds[i] = BigInt((await statusOf(address)).id).toString(16);
  return {
    url: `etcd://${members.map(({ address }) => address).join(",")}`,
    members,
    async leader(among = members) {
      const deadline = AbortSignal.timeout(patience(READY_MS));
      for (;;) {
        const told = await Promise.all(among.map(({ address }) => statusOf(address).catch(() => ({ leader: "0" }))));
        const [first] = told;
        const found = members[raftIds.indexOf(BigInt(first?.leader ?? 0).toString(16))];
        const agreed = told.every(({ leader }) => leader === first?.leader) && found !== undefined;
        if (agreed && among.includes(found)) return found;
        if (deadline.aborted) throw new Error(`Cannot use the cluster: its members see ${JSON.stringify(told)}`);
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
    async learner() {
      const own = await freePorts(3);
      const [, peer = 0] = own;
      const added = { peerURLs: [`http://127.0.0.1:${peer}`], isLearner: true };
      // A cluster takes none before its members have known each other for five seconds.
      await until("a learner is taken", () => {
        const adding = ask(members[0]?.address ?? "", "cluster/member/add", added);
        return adding.then(() => true, (error) => /exists/i.test(String(error)));
      });
      const state = ["--initial-cluster-state", "existing"];
      const learner = await startMember("m3", own, peer, `${peers},m3=http://127.0.0.1:${peer}`, state);
      beside.push(learner);
      return learner.address;
    },
    async stop() {
      await Promise.all([...members, ...beside].map((member) => member.kill()));
      for (const door of doors) door.close();
      await removeDirectory(root);
    },
  };
}

/** Asks a member who it is, and who leads: "0" if nobody. */
async function statusOf(address: string): Promise<{ readonly id: string; readonly leader: string }> {
  interface Status {
    // deno-lint-ignore camelcase -- etcd's name
    readonly header: { readonly member_id: string };
    readonly leader?: string;
  }
  const { header, leader = "0" } = await ask<Status>(address, "maintenance/status", {});
  return { id: header.member_id, leader };
}

async function ask<T>(address: string, path: string, body: object): Promise<T> {
  const answer = await fetch(`http://${address}/v3/${path}`, {
    method: "POST",
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(2_000),
  });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text}`);
  return JSON.parse(text) as T;
}

/** A TCP proxy in front of the peer port of a member, closed to some of the others. */
class Door {
  /** The port behind it. */
  target = 0;
  readonly #server: Server;
  readonly #isShut: (from: string) => boolean;
  readonly #pairs = new Map<Socket, { from: string; server: Socket }>();

  private constructor(server: Server, isShut: (from: string) => boolean) {
    this.#server = server;
    this.#isShut = isShut;
  }

  static async open(isShut: (from: string) => boolean): Promise<Door> {
    const server = createServer();
    const door = new Door(server, isShut);
    server.on("connection", (client) => door.#join(client));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return door;
  }

  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** Ends the connections of those to whom it is closed now. */
  shut(): void {
    for (const [client, { from }] of this.#pairs) if (this.#isShut(from)) client.destroy();
  }

  close(): void {
    for (const client of this.#pairs.keys()) client.destroy();
    this.#server.close();
  }

  #join(client: Socket): void {
    const server = connect({ port: this.target, host: "127.0.0.1" });
    const pair = { from: "", server };
    this.#pairs.set(client, pair);
    client.on("data", (chunk: Uint8Array) => {
      const [, raftId] = /^x-server-from: ([0-9a-f]+)/im.exec(new TextDecoder("latin1").decode(chunk)) ?? [];
      if (raftId !== undefined) pair.from = raftId;
      if (this.#isShut(pair.from)) client.destroy();
      else server.write(chunk);
    });
    server.on("data", (chunk: Uint8Array) => client.destroyed || client.write(chunk));
    for (const socket of [client, server]) socket.setNoDelay(true).on("error", () => {});
    client.on("close", () => {
      this.#pairs.delete(client);
      server.destroy();
    });
    server.on("close", () => client.destroy());
  }
}
