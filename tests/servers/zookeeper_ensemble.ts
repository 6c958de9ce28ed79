/** Three ZooKeeper servers that form an ensemble, each to be killed, frozen and restarted by itself. */

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePorts, removeDirectory, type ServerProcess, temporaryDirectory } from "./process.ts";
import { askServer, startMember } from "./zookeeper.ts";

/** One server of an ensemble. */
export interface Member extends ServerProcess {
  /** Where it serves clients, on 127.0.0.1. */
  readonly port: number;
  /** Its part at the moment; rejects while it serves no clients, as without a quorum. */
  mode(): Promise<"leader" | "follower">;
  /** How many clients are attached to it, this one left out. */
  clients(): Promise<number>;
}

/** An ensemble. */
export interface Ensemble {
  /** What the provider opens: all three servers. */
  readonly url: string;
  /** Its servers. */
  readonly members: readonly Member[];
  /** Resolves when all that run serve clients. */
  ready(members?: readonly Member[]): Promise<void>;
  /** Ends them all and removes their data. */
  stop(): Promise<void>;
}

const SIZE = 3;
const READY_MS = 60_000;

/** Starts an ensemble of three; returns when it serves clients. */
export async function startEnsemble(): Promise<Ensemble> {
  const root = await temporaryDirectory("zookeeper-ensemble");
  const ports = await freePorts(SIZE * 3);
  const ids = Array.from({ length: SIZE }, (_, i) => i + 1);
  const servers = ids.map((id) => `server.${id}=127.0.0.1:${ports[id * 3 - 2]}:${ports[id * 3 - 1]}`);
  const members = await Promise.all(ids.map(async (id) => {
    const directory = join(root, `member-${id}`);
    const port = ports[id * 3 - 3] ?? 0;
    await mkdir(join(directory, "data"), { recursive: true });
    await writeFile(join(directory, "data", "myid"), `${id}\n`);
    // Whether it serves clients depends on the others, so a start does not wait for that.
    const settings = ["initLimit=20", "syncLimit=8", ...servers];
    return describe(port, await startMember(directory, port, settings, () => Promise.resolve()));
  }));
  const ensemble: Ensemble = {
    url: `zookeeper://${members.map(({ port }) => `127.0.0.1:${port}`).join(",")}/elections`,
    members,
    async ready(which = members) {
      for (const { mode, port } of which) {
        const deadline = AbortSignal.timeout(READY_MS);
        for (;;) {
          try {
            await mode();
            break;
          } catch (error) {
            if (deadline.aborted) throw new Error(`Cannot use server "127.0.0.1:${port}": ${error}`);
            await new Promise((resolve) => setTimeout(resolve, 50));
          }
        }
      }
    },
    async stop() {
      await Promise.all(members.map((member) => member.kill()));
      await removeDirectory(root);
    },
  };
  try {
    await ensemble.ready();
  } catch (error) {
    await ensemble.stop();
    throw error;
  }
  return ensemble;
}

function describe(port: number, server: ServerProcess): Member {
  return {
    ...server,
    port,
    async mode() {
      const [, mode] = /^Mode: (leader|follower)$/m.exec(await askServer(port, "srvr")) ?? [];
      if (mode !== "leader" && mode !== "follower") throw new Error("it has no part in an ensemble");
      return mode;
    },
    async clients() {
      const lines = (await askServer(port, "cons")).split("\n").filter((line) => line.includes("sid=0x"));
      return lines.length;
    },
  };
}
