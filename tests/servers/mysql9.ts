/**
 * A real MySQL for the tests of the MySQL provider: that of Debian's unstable release, unpacked into a cache with the C
 * library that it needs.
 */

import { access, readdir } from "node:fs/promises";
import { join } from "node:path";
import { cacheDirectory, fillCache, unpackDebianWhole } from "./debian.ts";
import { asRoot, placesIn, startOn } from "./mysql.ts";
import { freePort, run, temporaryDirectory } from "./process.ts";
import type { ServerKind, TestServer } from "./server.ts";

const NAME = "mysql-9";

/** Starts MySQL 9. */
export const mysql9Server: ServerKind = {
  name: "mysql9",
  provider: "mysql",
  // Those that are about what the server makes of the statements.
  inGate: /\/mysql\/(leases|heartbeats|sessions|inspection)_test\.ts$/,
  async install() {
    if (await program() !== null) return;
    await fillCache(NAME, (directory) => unpackDebianWhole("sid", ["mysql-server-core"], directory));
    if (await program() === null) throw new Error(`Cannot install "${NAME}": its packages have no mysqld`);
  },
  isThere: async () => await program() !== null,
  start: () => startMysql9(),
};

/** Starts MySQL 9 on a free port. */
export async function startMysql9(): Promise<TestServer> {
  const mysqld = await program();
  if (mysqld === null) throw new Error('Cannot start server "mysql9": there is no mysqld');
  const directory = await temporaryDirectory("mysql9");
  const usr = join(cacheDirectory(NAME), "usr");
  const places = [`--basedir=${usr}`, `--lc-messages-dir=${join(usr, "share/mysql")}`, "--secure-file-priv=NULL"];
  const [command = "", ...first] = mysqld;
  await run(command, [
    ...[...first, "--no-defaults", ...asRoot(), ...placesIn(directory), ...places, "--initialize-insecure"],
  ]);
  const args = [...places, `--plugin-dir=${join(usr, "lib/mysql/plugin")}`, "--mysqlx=OFF"];
  return await startOn(mysqld, { args }, directory, await freePort());
}

/** Returns how to call it: by the loader of its own C library. Null if it is not there. */
async function program(): Promise<readonly string[] | null> {
  const usr = join(cacheDirectory(NAME), "usr");
  const mysqld = join(usr, "sbin/mysqld");
  if (!await access(mysqld).then(() => true, () => false)) return null;
  for (const each of await readdir(join(usr, "lib"))) {
    const libraries = join(usr, "lib", each);
    const loader = (await readdir(libraries).catch(() => [])).find((name) => /^ld-linux.*\.so/.test(name));
    if (loader === undefined) continue;
    return [join(libraries, loader), "--library-path", `${libraries}:${join(usr, "lib/mysql/private")}`, mysqld];
  }
  return null;
}
