/**
 * A real PostgreSQL for the tests, a pooler in front of it and a standby behind it, from the machine or from Debian's
 * packages.
 */

import { chown, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import {
  aptInstall,
  findProgram,
  freePort,
  removeDirectory,
  run,
  type ServerProcess,
  startProcess,
  temporaryDirectory,
} from "./process.ts";
import type { ServerKind, TestServer } from "./server.ts";
import { type SteppedServer, withSteppedClock } from "./stepped_clock.ts";

export type { SteppedServer } from "./stepped_clock.ts";

const USER = "elect";
const PASSWORD = "elect-secret";
/** The server's certificate, in its directory. Clients may encrypt, and need not. */
const CERTIFICATE = "server.crt";
const VERSIONS = "/usr/lib/postgresql";

/** Starts PostgreSQL with password authentication and `pg_stat_statements`. */
export const postgresServer: ServerKind = {
  name: "postgres",
  compose: {
    url: "postgres://elect:elect-secret@127.0.0.1:55432/elect",
    image: "postgres:17-alpine",
    port: 5432,
    environment: { POSTGRES_USER: "elect", POSTGRES_PASSWORD: "elect-secret", POSTGRES_DB: "elect" },
    healthCheck: ["pg_isready", "--host", "127.0.0.1", "--username", "elect"],
  },
  async install() {
    if (await programs() === null) await aptInstall("postgresql");
  },
  start: () => startPostgres(),
};

/** Starts PostgreSQL with a clock that can be stepped. */
export async function startStepped(): Promise<SteppedServer> {
  return await withSteppedClock(startPostgres, await serverUser());
}

/** The certificate of a server that was started here: self-signed, for 127.0.0.1. Its own authority, therefore. */
export function certificateOf(server: TestServer): string {
  const path = certificates.get(server);
  if (path === undefined) throw new Error("the server has no certificate: there is no openssl");
  return path;
}

const certificates = new WeakMap<TestServer, string>();

async function startPostgres(env: Readonly<Record<string, string>> = {}): Promise<TestServer> {
  const { directory, port, user, bin } = await prepare("postgres");
  const data = join(directory, "data");
  const passwordFile = join(directory, "password");
  await writeFile(passwordFile, PASSWORD);
  if (user) await chown(passwordFile, user.uid, user.gid);
  const settings = ["-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync"];
  await run(join(bin, "initdb"), ["-D", data, ...settings, `--pwfile=${passwordFile}`], { cwd: directory, ...user });
  const certificate = await selfSigned(directory, user);
  const server = await startOn(data, directory, port, user, bin, certificate, env);
  if (certificate.ssl_cert_file !== undefined) certificates.set(server, certificate.ssl_cert_file);
  return server;
}

/** Starts a hot standby of `primary`: it streams what the primary writes, and refuses writes. */
export async function startStandby(primary: TestServer): Promise<TestServer> {
  const { directory, port, user, bin } = await prepare("standby");
  const data = join(directory, "data");
  const { port: primaryPort } = new URL(primary.url);
  const source = ["-h", "127.0.0.1", "-p", primaryPort, "-U", USER];
  await run(join(bin, "pg_basebackup"), [...source, "-D", data, "-R", "-X", "stream", "-c", "fast", "--no-sync"], {
    cwd: directory,
    env: { PGPASSWORD: PASSWORD },
    ...user,
  });
  return await startOn(data, directory, port, user, bin);
}

/** Starts a transaction-mode PgBouncer in front of `server`. `settings` are lines for its configuration. */
export async function startPooler(server: TestServer, settings: readonly string[] = []): Promise<TestServer> {
  if (await findProgram("pgbouncer") === null) await aptInstall("pgbouncer");
  const command = await findProgram("pgbouncer");
  if (command === null) throw new Error('Cannot start server "pgbouncer": there is no pgbouncer');
  const { directory, port, user } = await prepare("pgbouncer");
  const users = join(directory, "users.txt");
  const config = join(directory, "pgbouncer.ini");
  await writeFile(users, `"${USER}" "${PASSWORD}"\n`);
  await writeFile(
    config,
    [
      "[databases]",
      `* = host=127.0.0.1 port=${new URL(server.url).port}`,
      "[pgbouncer]",
      "listen_addr = 127.0.0.1",
      `listen_port = ${port}`,
      "unix_socket_dir =",
      "auth_type = scram-sha-256",
      `auth_file = ${users}`,
      "pool_mode = transaction",
      "default_pool_size = 4",
      "max_client_conn = 200",
      ...settings,
    ].join("\n"),
  );
  if (user) {
    await chown(users, user.uid, user.gid);
    await chown(config, user.uid, user.gid);
  }
  const pooler = await startProcess({ command, args: [config], directory, user, ready: () => answers(port) });
  return handle(pooler, directory, port);
}

type User = { readonly uid: number; readonly gid: number } | undefined;

async function prepare(name: string): Promise<{ directory: string; port: number; user: User; bin: string }> {
  const bin = await programs();
  if (bin === null) throw new Error(`Cannot start server "${name}": there is no PostgreSQL`);
  const user = await serverUser();
  return { directory: await temporaryDirectory(name, user), port: await freePort(), user, bin };
}

async function startOn(
  data: string,
  directory: string,
  port: number,
  user: User,
  bin: string,
  settings: Readonly<Record<string, string>> = {},
  env: Readonly<Record<string, string>> = {},
): Promise<TestServer> {
  const args = [
    ...["-D", data, "-p", String(port)],
    ...Object.entries({
      listen_addresses: "127.0.0.1",
      unix_socket_directories: "",
      max_connections: "200",
      shared_preload_libraries: "pg_stat_statements",
      // The tests kill processes, not the machine: what was written survives in the page cache.
      fsync: "off",
      ...settings,
    }).flatMap(([setting, value]) => ["-c", `${setting}=${value}`]),
  ];
  const server = await startProcess({
    command: join(bin, "postgres"),
    args,
    directory,
    user,
    env,
    ready: () => run(join(bin, "pg_isready"), ["-q", "-h", "127.0.0.1", "-p", String(port), "-t", "2"]),
  });
  return handle(server, directory, port);
}

/** Makes a certificate for 127.0.0.1 and returns the settings that use it; none where there is no `openssl`. */
async function selfSigned(directory: string, user: User): Promise<Readonly<Record<string, string>>> {
  const openssl = await findProgram("openssl");
  if (openssl === null) return {};
  const [key, certificate] = [join(directory, "server.key"), join(directory, CERTIFICATE)];
  const subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"];
  const form = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"];
  await run(openssl, ["req", ...form, ...subject, "-keyout", key, "-out", certificate], { cwd: directory, ...user });
  return { ssl: "on", ssl_key_file: key, ssl_cert_file: certificate };
}

function handle(server: ServerProcess, directory: string, port: number): TestServer {
  return {
    url: `postgres://${USER}:${PASSWORD}@127.0.0.1:${port}/postgres`,
    ...server,
    async stop() {
      await server.kill();
      await removeDirectory(directory);
    },
  };
}

async function answers(port: number): Promise<void> {
  const bin = await programs();
  if (bin !== null) await run(join(bin, "pg_isready"), ["-q", "-h", "127.0.0.1", "-p", String(port), "-t", "2"]);
}

/**
 * Returns the directory of the newest PostgreSQL's programs: Debian keeps them off the search path, one version beside
 * the other.
 */
async function programs(): Promise<string | null> {
  const versions = await readdir(VERSIONS).catch(() => []);
  const candidates = versions.sort((a, b) => Number(b) - Number(a)).map((version) => join(VERSIONS, version, "bin"));
  for (const bin of candidates) if (await findProgram(join(bin, "postgres"), join(bin, "initdb")) !== null) return bin;
  const postgres = await findProgram("postgres");
  return postgres === null ? null : join(postgres, "..");
}

/** PostgreSQL and PgBouncer refuse to run as root: then it is the user that the package made. */
async function serverUser(): Promise<User> {
  if (process.getuid?.() !== 0) return undefined;
  const id = async (flag: string) => Number((await run("id", [flag, "postgres"])).trim());
  return { uid: await id("-u"), gid: await id("-g") };
}
