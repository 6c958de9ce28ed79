/** Servers from `docker-compose.yml`, for machines that have Docker and not the server itself. */

import { findProgram, run } from "./process.ts";
import type { ComposeService, ServerKind, TestServer } from "./server.ts";

/** Returns `docker-compose.yml` with the services of `kinds`, in their order. */
export function composeFile(kinds: readonly ServerKind[]): string {
  const services = kinds.flatMap(({ name, compose }) => compose === undefined ? [] : [serviceOf(name, compose)]);
  return `# The servers of all backends, for machines that have Docker and not the servers themselves. Written by
# \`deno task sync\` from tests/servers/. \`deno task test\` starts what it needs by itself; by hand:
#     docker compose up --detach --wait redis
services:
${services.join("\n")}`;
}

function serviceOf(name: string, service: ComposeService): string {
  const { url, image, port, entrypoint, command, environment = {}, healthCheck, patience = 60 } = service;
  const [, published] = /:(\d+)(?=\/|$)/.exec(url) ?? [];
  const variables = Object.entries(environment).map(([key, value]) => `      ${key}: ${quoted(value)}`);
  return [
    `  ${name}:`,
    `    image: ${image}`,
    ...listOf("    entrypoint", entrypoint),
    ...listOf("    command", command),
    ...variables.length > 0 ? ["    environment:", ...variables] : [],
    `    ports: [${quoted(`127.0.0.1:${published}:${port}`)}]`,
    "    healthcheck:",
    ...listOf("      test", ["CMD", ...healthCheck]),
    "      interval: 1s",
    "      timeout: 5s",
    `      retries: ${patience}`,
    "",
  ].join("\n");
}

function listOf(key: string, values: readonly string[] | undefined): string[] {
  if (values === undefined) return [];
  const indent = key.replace(/\S.*/, "");
  return [`${key}:`, ...values.map((value) => `${indent}  - ${quoted(value)}`)];
}

/** In YAML as in JSON. Compose would take a dollar sign for a variable of its own. */
function quoted(value: string): string {
  return JSON.stringify(value.replaceAll("$", "$$$$"));
}

/** Starts the service of a server, with a fresh container that is removed at the end. */
export async function composeServer({ name, compose: service }: ServerKind): Promise<TestServer> {
  if (service === undefined) throw new Error(`docker-compose.yml has no service "${name}"`);
  const docker = await findProgram("docker");
  if (docker === null) throw new Error("there is no docker");
  const cwd = new URL("../../", import.meta.url).pathname;
  const compose = (...args: string[]) => run(docker, ["compose", ...args], { cwd });
  await run(docker, ["info"], { cwd }).catch(() => {
    throw new Error("docker does not answer");
  });
  await compose("up", "--detach", "--wait", name);
  return {
    url: service.url,
    kill: async () => void await compose("kill", name),
    restart: async () => void await compose("up", "--detach", "--wait", name),
    freeze: async () => void await compose("pause", name),
    thaw: async () => void await compose("unpause", name),
    stop: async () => void await compose("rm", "--stop", "--force", "--volumes", name),
  };
}
