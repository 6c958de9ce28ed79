/** A Galera cluster of two MariaDB servers, on one machine: with Debian's library, unpacked into a cache. */

import { access, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import process from "node:process";
import mysql from "mysql2/promise";
import { until } from "../until.ts";
import { cacheDirectory, fillCache, unpackDebian } from "./debian.ts";
import { installData, mysqlServer, startOn } from "./mysql.ts";
import { findProgram, freePorts, removeDirectory, temporaryDirectory } from "./process.ts";
import type { TestServer } from "./server.ts";

const NAME = "galera-4";
const LIBRARY = join(cacheDirectory(NAME), "usr/lib/galera/libgalera_smm.so");

/** Makes MariaDB and the library available. */
export async function installGalera(): Promise<void> {
  await mysqlServer.install();
  if (await isThere()) return;
  await fillCache(NAME, (directory) => unpackDebian("bookworm", [NAME], directory));
  if (!await isThere()) throw new Error(`Cannot install "${NAME}": its package has no ${LIBRARY}`);
}

const isThere = () => access(LIBRARY).then(() => true, () => false);

/**
 * Sends the state of a node to one that joins, as Debian's `wsrep_sst_rsync` does, but by a copy from directory to
 * directory: the protocol is on standard output of either side, and the joiner's address is its directory.
 */
const STATE_TRANSFER = `#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in
    --role) role=$2 ;;
    --gtid) gtid=$2 ;;
    --gtid-domain-id) domain=$2 ;;
    --address) there=$2 ;;
    --datadir) here=\${2%/} ;;
  esac
  shift
done
if [ "$role" = joiner ]; then
  echo "ready $here"
  until [ -s "$here.position" ]; do sleep 0.05; done
  cat "$here.position"
  exit
fi
echo "flush tables"
until [ -f "$here/tables_flushed" ]; do sleep 0.05; done
find "$there" -mindepth 1 -delete
cp -r "$here/." "$there"
for each in tables_flushed galera.cache grastate.dat gvwstate.dat; do rm -f "$there/$each"; done
rm -f "$here/tables_flushed"
echo continue
echo "$gtid $domain" > "$there.position.new" && mv "$there.position.new" "$there.position"
echo "done $gtid"
`;

/** Two nodes. The first has a majority by itself, and the second has none without it. */
export interface GaleraCluster {
  readonly nodes: readonly [TestServer, TestServer];
  stop(): Promise<void>;
}

/** Starts one on free ports. */
export async function startGalera(): Promise<GaleraCluster> {
  const program = await findProgram("mariadbd");
  if (program === null) throw new Error('Cannot start "galera": there is no mariadbd');
  const scripts = await temporaryDirectory("galera");
  await writeFile(join(scripts, "wsrep_sst_copy"), STATE_TRANSFER, { mode: 0o700 });
  const env = { PATH: [scripts, process.env.PATH].join(delimiter) };
  const started: TestServer[] = [];
  const begin = async (weight: number, others: readonly string[]) => {
    const directory = await temporaryDirectory("mysql");
    await installData(directory);
    const [port = 0, group = 0, receiving = 0] = await freePorts(3);
    const options = [
      ...[`gmcast.listen_addr=tcp://127.0.0.1:${group}`, `base_port=${group}`],
      ...[`ist.recv_addr=127.0.0.1:${receiving}`, `pc.weight=${weight}`, "gcache.size=16M"],
    ];
    const args = [
      ...["--wsrep-on=ON", `--wsrep-provider=${LIBRARY}`, `--wsrep-provider-options=${options.join(";")}`],
      ...["--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", "--wsrep-node-address=127.0.0.1"],
      ...["--wsrep-sst-method=copy", `--wsrep-cluster-address=gcomm://${others.join()}`],
      ...(others.length === 0 ? ["--wsrep-new-cluster"] : []),
    ];
    const server = await startOn([program], { args, env }, directory, port);
    started.push(server);
    await until("a node that is ready", () => isReady(server.url), 60_000);
    return { server, address: `127.0.0.1:${group}` };
  };
  const stop = async () => {
    for (const server of started) await server.stop();
    await removeDirectory(scripts);
  };
  try {
    const first = await begin(2, []);
    const second = await begin(1, [first.address]);
    return { nodes: [first.server, second.server], stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function isReady(url: string): Promise<boolean> {
  try {
    const connection = await mysql.createConnection(url);
    try {
      const [rows] = await connection.query("SHOW STATUS LIKE 'wsrep_ready'");
      return /ON/.test(JSON.stringify(rows));
    } finally {
      connection.destroy();
    }
  } catch {
    return false;
  }
}
