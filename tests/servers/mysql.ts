/** A real MariaDB for the tests, from the machine or from Debian's packages. */

import { writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { patience } from "../slowness.ts";
import {
  aptInstall,
  findProgram,
  freePort,
  removeDirectory,
  run,
  startProcess,
  temporaryDirectory,
} from "./process.ts";
import type { ServerKind, TestServer } from "./server.ts";

/** Who the tests are at the server, and where. */
const [USER, PASSWORD, DATABASE] = ["elect", "elect-secret", "elect"];

/** The Debian packages with the server and what its installation needs; none of them starts anything. */
const PACKAGES = ["mariadb-server-core", "mariadb-client-core"];

/** Starts one MariaDB. */
export const mysqlServer: ServerKind = {
  name: "mysql",
  compose: {
    url: "mysql://root:elect-secret@127.0.0.1:53306/elect",
    image: "mariadb:11.4",
    port: 3306,
    environment: { MARIADB_ROOT_PASSWORD: "elect-secret", MARIADB_DATABASE: "elect" },
    healthCheck: ["healthcheck.sh", "--connect", "--innodb_initialized"],
  },
  async install() {
    if (await findProgram("mariadbd") === null) await aptInstall(...PACKAGES);
  },
  start: () => startMariadb(),
};

/** How to start a server other than the default. */
export interface MysqlSpec {
  /** Settings beside the usual ones, such as `--read-only`. */
  readonly args?: readonly string[];
  /** Variables of its process. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts MariaDB on a free port. */
export async function startMariadb(spec: MysqlSpec = {}): Promise<TestServer> {
  const command = await findProgram("mariadbd");
  if (command === null) throw new Error('Cannot start server "mysql": there is no mariadbd');
  const directory = await temporaryDirectory("mysql");
  await installData(directory);
  return await startOn([command], spec, directory, await freePort());
}

/** Makes the data of a new MariaDB in `directory`. */
export async function installData(directory: string): Promise<void> {
  const install = await findProgram("mariadb-install-db");
  if (install === null) throw new Error('Cannot start server "mysql": there is no mariadb-install-db');
  await run(install, [
    ...["--no-defaults", ...asRoot(), ...placesIn(directory), "--skip-test-db"],
    "--auth-root-authentication-method=normal",
  ]);
}

/** Starts `program`, a command and its first arguments, on the data of `directory`. */
export async function startOn(
  [command = "", ...first]: readonly string[],
  { args = [], env = {} }: MysqlSpec,
  directory: string,
  port: number,
): Promise<TestServer> {
  const initial = join(directory, "init.sql");
  await writeFile(
    initial,
    `CREATE DATABASE IF NOT EXISTS ${DATABASE};
CREATE USER IF NOT EXISTS ${USER}@'%' IDENTIFIED BY '${PASSWORD}';
GRANT ALL ON *.* TO ${USER}@'%' WITH GRANT OPTION;
`,
  );
  const server = await startProcess({
    command,
    args: [
      ...[...first, "--no-defaults", ...asRoot(), ...placesIn(directory), `--init-file=${initial}`],
      ...[`--port=${port}`, "--bind-address=127.0.0.1", `--socket=${join(directory, "socket")}`],
      ...[`--pid-file=${join(directory, "pid")}`, "--max-connections=400", "--innodb-buffer-pool-size=32M"],
      // The tests kill processes, not the machine: what was written survives in the page cache.
      "--innodb-flush-log-at-trx-commit=2",
      ...args,
    ],
    directory,
    env,
    ready: () => greets(port),
  });
  return {
    url: `mysql://${USER}:${PASSWORD}@127.0.0.1:${port}/${DATABASE}`,
    ...server,
    async stop() {
      await server.kill();
      await removeDirectory(directory);
    },
  };
}

/** Where it keeps what it has. One that starts removes the temporary tables of all who share their place with it. */
export function placesIn(directory: string): readonly string[] {
  return [`--datadir=${join(directory, "data")}`, `--tmpdir=${directory}`];
}

/** Says that the server may run as root, which it refuses otherwise. */
export function asRoot(): readonly string[] {
  return process.getuid?.() === 0 ? ["--user=root"] : [];
}

/** Resolves when the server begins a conversation. */
function greets(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.setTimeout(patience(2_000), () => socket.destroy(new Error("no greeting in time")));
    socket.once("data", () => {
      socket.destroy();
      resolve();
    });
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("no greeting")));
  });
}
