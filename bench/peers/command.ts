/** Locks around a command, by programs of the backends' own: the lock is held while the command runs. */

import { consulProgram } from "../../tests/servers/consul.ts";
import { etcdProgram } from "../../tests/servers/etcd.ts";
import { readLines } from "../processes.ts";
import type { Peer } from "./peer.ts";

/** Opens a lock of `consul lock`. */
export async function openConsulLock(url: string, key: string): Promise<Peer> {
  const { host } = new URL(url);
  const program = await consulProgram();
  return await openCommand([program, "lock", `-http-addr=${host}`, "-shell=false", key]);
}

/** Opens a lock of `etcdctl lock`. */
export async function openEtcdLock(url: string, key: string): Promise<Peer> {
  const { host } = new URL(url.replace("etcd:", "http:"));
  const program = await etcdProgram("etcdctl");
  return await openCommand([program, `--endpoints=${host}`, "lock", key, "--"]);
}

/** Opens a lock that `command` takes around the command that follows it: one that ends when a pipe is written to. */
async function openCommand(command: readonly string[]): Promise<Peer> {
  const directory = await Deno.makeTempDir({ prefix: "elect-bench-peer-" });
  const pipe = `${directory}/pipe`;
  await new Deno.Command("mkfifo", { args: [pipe] }).output();
  let child: Deno.ChildProcess | undefined;
  return {
    async acquire() {
      const [program = "", ...args] = [...command, "sh", "-c", 'echo held; read -r line <"$0"', pipe];
      child = new Deno.Command(program, {
        args,
        env: { ETCDCTL_API: "3" },
        stdin: "null",
        stdout: "piped",
        stderr: "null",
      }).spawn();
      const held = Promise.withResolvers<void>();
      void readLines(child.stdout, (line) => line === "held" && held.resolve());
      await Promise.race([held.promise, child.status.then(() => Promise.reject(new Error(`${program} has ended`)))]);
    },
    async release() {
      await Deno.writeTextFile(pipe, "over\n");
      await child?.status;
    },
    async close() {
      try {
        child?.kill("SIGTERM");
      } catch {
        // It has ended by itself.
      }
      await child?.status;
      await Deno.remove(directory, { recursive: true });
    },
  };
}
