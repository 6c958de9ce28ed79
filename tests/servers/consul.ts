/** A real Consul for the tests: the machine's own, or the last one that Debian packaged, unpacked into a cache. */

import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { cacheDirectory, fillCache, unpackDebian } from "./debian.ts";
import {
  connectable,
  findProgram,
  freePort,
  removeDirectory,
  run,
  startProcess,
  temporaryDirectory,
} from "./process.ts";
import type { ServerKind, TestServer } from "./server.ts";

/** The first Debian release whose packages hold Consul is also the last. */
const SUITE = "bullseye";

/** Starts one Consul server that elects itself leader and keeps everything on disk. */
export const consulServer: ServerKind = {
  name: "consul",
  compose: {
    url: "consul://127.0.0.1:58500",
    image: "hashicorp/consul:1.20",
    port: 8500,
    command: [
      ...["agent", "-server", "-bootstrap-expect=1", "-data-dir=/consul/data", "-client=0.0.0.0"],
      "-bind=127.0.0.1",
    ],
    healthCheck: ["consul", "kv", "get", "-keys", ""],
  },
  async install() {
    await consulProgram();
  },
  start: () => startConsul(),
};

/** How to start a Consul other than the default. */
export interface ConsulSetup {
  /** With it, access control is on, everything is denied by default, and this token may do everything. */
  readonly masterToken?: string;
  /** Whether it waits for a second server, which never comes. */
  readonly isLeaderless?: boolean;
  /**
   * Whether it speaks HTTPS, with a certificate for `localhost` and 127.0.0.1, and to clients that have one of the same
   * authority.
   */
  readonly isTls?: boolean;
  /** With `isTls`: whether clients need none. */
  readonly isOpen?: boolean;
  /** The most bytes that a value may have. */
  readonly maxValueBytes?: number;
}

/** A running Consul. */
export interface ConsulServer extends TestServer {
  /** The authority of its certificate, where it speaks HTTPS. */
  readonly ca: string | null;
  /** Files in PEM, where it speaks HTTPS: the authority, and what a client shows. */
  readonly files: { readonly ca: string; readonly cert: string; readonly key: string };
}

/** Starts a server with `setup`. */
export async function startConsul(setup: ConsulSetup = {}): Promise<ConsulServer> {
  const command = await consulProgram();
  const directory = await temporaryDirectory("consul");
  const [http, https, rpc, serf] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const config = `
    server = true
    bootstrap_expect = ${setup.isLeaderless ? 2 : 1}
    data_dir = "${directory}/data"
    bind_addr = "127.0.0.1"
    client_addr = "127.0.0.1"
    log_level = "WARN"
    disable_update_check = true
    # Without the multiplier of 5 that suits a small cloud machine, a restarted server leads within a second.
    performance { raft_multiplier = 1 }
    ports {
      http = ${http}, https = ${setup.isTls ? https : -1}, server = ${rpc}, serf_lan = ${serf}
      serf_wan = -1, dns = -1, grpc = -1
    }
    # The suite opens more clients from one address than an agent serves by default.
    limits {
      http_max_conns_per_client = 2000
      ${setup.maxValueBytes === undefined ? "" : `kv_max_value_size = ${setup.maxValueBytes}`}
    }
    ${setup.masterToken === undefined ? "" : accessControl(setup.masterToken)}
    ${setup.isTls ? await certificate(command, directory, setup.isOpen ?? false) : ""}
  `;
  await writeFile(join(directory, "agent.hcl"), config);
  const consul = await startProcess({
    command,
    args: ["agent", `-config-file=${join(directory, "agent.hcl")}`],
    directory,
    ready: () => setup.isLeaderless ? connectable(http) : hasLeader(http, setup.masterToken),
  });
  return {
    url: setup.isTls ? `consul+https://localhost:${https}` : `consul://127.0.0.1:${http}`,
    files: {
      ca: join(directory, "consul-agent-ca.pem"),
      cert: join(directory, "dc1-client-consul-0.pem"),
      key: join(directory, "dc1-client-consul-0-key.pem"),
    },
    ca: setup.isTls ? await readFile(join(directory, "consul-agent-ca.pem"), "utf8") : null,
    ...consul,
    async stop() {
      await consul.kill();
      await removeDirectory(directory);
    },
  };
}

/** Makes an authority and certificates of a server and of a client in `directory`. */
async function certificate(command: string, directory: string, isOpen: boolean): Promise<string> {
  await run(command, ["tls", "ca", "create"], { cwd: directory });
  await run(command, ["tls", "cert", "create", "-server"], { cwd: directory });
  await run(command, ["tls", "cert", "create", "-client"], { cwd: directory });
  return `
    ca_file = "${directory}/consul-agent-ca.pem"
    verify_incoming_https = ${!isOpen}
    cert_file = "${directory}/dc1-server-consul-0.pem"
    key_file = "${directory}/dc1-server-consul-0-key.pem"
  `;
}

function accessControl(masterToken: string): string {
  return `acl {
    enabled = true
    default_policy = "deny"
    tokens { master = "${masterToken}", agent = "${masterToken}" }
  }`;
}

/** Resolves when a linearizable read is answered: right after a start the leader is known, but not yet ready. */
async function hasLeader(port: number, masterToken: string | undefined): Promise<void> {
  const signal = AbortSignal.timeout(2_000);
  if (masterToken !== undefined) {
    // The leader sets access control up a moment later.
    const headers = { "x-consul-token": masterToken };
    const policies = await fetch(`http://127.0.0.1:${port}/v1/acl/policies`, { headers, signal });
    const text = await policies.text();
    if (!policies.ok) throw new Error(`${policies.status} ${text}`);
  }
  const answer = await fetch(`http://127.0.0.1:${port}/v1/session/node/none?consistent`, { signal });
  const body = await answer.text();
  // With access control, the list is refused or empty; what counts is that a leader answered.
  if (!answer.ok && answer.status !== 403) throw new Error(`${answer.status} ${body}`);
}

/** Returns the path of the program `consul`, which is fetched if need be. */
export async function consulProgram(): Promise<string> {
  const unpacked = join(cacheDirectory("consul"), "usr/bin/consul");
  const found = await findProgram("consul", unpacked);
  if (found !== null) return found;
  await fillCache("consul", (directory) => unpackDebian(SUITE, ["consul"], directory));
  return unpacked;
}
