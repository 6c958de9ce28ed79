/** Servers from `docker-compose.yml`, for machines that have Docker and not the server itself. */

import { findProgram, run } from "./process.ts";
import type { TestServer } from "./server.ts";

/** The URL of each service of `docker-compose.yml`, which are named like the providers. */
export const COMPOSE_URLS: Readonly<Record<string, string>> = {
  redis: "redis://127.0.0.1:56379",
  postgres: "postgres://elect:elect-secret@127.0.0.1:55432/elect",
  mysql: "mysql://root:elect-secret@127.0.0.1:53306/elect",
  sqlserver: "sqlserver://sa:Elect-Secret-1@localhost:51433/master?trustServerCertificate=true",
  "azure-blob": "http://127.0.0.1:50000/devstoreaccount1/elections",
  consul: "consul://127.0.0.1:58500",
  zookeeper: "zookeeper://127.0.0.1:52181/elections",
  etcd: "etcd://127.0.0.1:52379",
  kubernetes: "k8s+http://127.0.0.1:58001/default",
};

/** Starts the service of a provider, with a fresh container that is removed at the end. */
export async function composeServer(name: string): Promise<TestServer> {
  const url = COMPOSE_URLS[name];
  if (url === undefined) throw new Error(`docker-compose.yml has no service "${name}"`);
  const docker = await findProgram("docker");
  if (docker === null) throw new Error("there is no docker");
  const cwd = new URL("../../", import.meta.url).pathname;
  const compose = (...args: string[]) => run(docker, ["compose", ...args], { cwd });
  await run(docker, ["info"], { cwd }).catch(() => {
    throw new Error("docker does not answer");
  });
  await compose("up", "--detach", "--wait", name);
  return {
    url,
    kill: async () => void await compose("kill", name),
    restart: async () => void await compose("up", "--detach", "--wait", name),
    freeze: async () => void await compose("pause", name),
    thaw: async () => void await compose("unpause", name),
    stop: async () => void await compose("rm", "--stop", "--force", "--volumes", name),
  };
}
