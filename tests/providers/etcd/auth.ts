/** An etcd with users and roles. */

import { etcdProgram, type EtcdVersion } from "../../servers/etcd.ts";
import { run } from "../../servers/process.ts";
import type { TestServer } from "../../servers/server.ts";

/** Runs `etcdctl`. */
export type Etcdctl = (...args: string[]) => Promise<string>;

/**
 * Makes users, with the password `hunter%2`: `elect`, with the role of the documentation, which may do everything below
 * the prefix and nothing else, and `reader`, who may read there. Returns what runs `etcdctl`.
 */
export async function enableAuth({ url }: TestServer, version: EtcdVersion): Promise<Etcdctl> {
  const command = await etcdProgram("etcdctl", version);
  const etcdctl: Etcdctl = (...args) => run(command, [`--endpoints=${url.replace("etcd:", "http:")}`, ...args]);
  await etcdctl("user", "add", "root:root-secret");
  await etcdctl("user", "grant-role", "root", "root").catch(async () => {
    await etcdctl("role", "add", "root");
    await etcdctl("user", "grant-role", "root", "root");
  });
  for (const [name, right] of [["elect", "readwrite"], ["reader", "read"]] as const) {
    await etcdctl("role", "add", name);
    await etcdctl("role", "grant-permission", name, right, "--prefix=true", "multilock/");
    await etcdctl("user", "add", `${name}:hunter%2`);
    await etcdctl("user", "grant-role", name, name);
  }
  await etcdctl("auth", "enable");
  return etcdctl;
}
