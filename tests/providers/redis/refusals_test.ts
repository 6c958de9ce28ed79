/** What Redis refuses for good ends the start of an election, instead of being waited for. */

import { test } from "node:test";
import { Redis } from "ioredis";
import { redisProvider } from "../../../providers/redis.ts";
import { backend } from "../../servers/backend.ts";
import { startRedis } from "../../servers/redis.ts";
import { startTlsRedis } from "../../servers/redis_tls.ts";
import { refused, refusedToAll, SECRET, TELLS_ALERTS } from "../refused.ts";
import { LONG } from "./stage.ts";

if (backend("redis") !== null) {
  test("elect() rejects, when Redis refuses user, password, database, keys or commands", LONG, rights);
  test("elect() rejects, when Redis asks for a password", LONG, noPassword);
  test("elect() rejects, when a key of the group holds something else", LONG, foreign);
  test("elect() rejects, when TLS is refused by either side", LONG, tls);
}

async function rights(): Promise<void> {
  const args = ["--user", "keyless", "on", `>${SECRET}`, "~other:*", "+@all"];
  const server = await startRedis({ args: [...args, "--user", "mute", "on", `>${SECRET}`, "~*", "&*", "+time"] });
  const at = (user: string) => server.url.replace("//", `//${user}:${SECRET}@`);
  try {
    await refusedToAll(at(""), /AUTH was refused/);
    await refusedToAll(at("nobody"), /WRONGPASS/);
    await refusedToAll(at("keyless"), /NOPERM/);
    await refusedToAll(at("mute"), /NOPERM/);
    await refusedToAll(`${server.url}/99`, /SELECT was refused/);
  } finally {
    await server.stop();
  }
}

async function noPassword(): Promise<void> {
  const server = await startRedis({ args: ["--requirepass", SECRET] });
  try {
    await refusedToAll(server.url, /NOAUTH/);
    await using elsewhere = redisProvider({ url: server.url.replace("redis:", "redis+cluster:") });
    await refusedToAll(elsewhere, /NOAUTH/);
  } finally {
    await server.stop();
  }
}

async function foreign(): Promise<void> {
  const { url = "" } = backend("redis") ?? {};
  const admin = new Redis(url);
  try {
    for (const write of [["SET", "x"], ["HSET", "field", "x"]] as const) {
      const electionGroup = crypto.randomUUID();
      const [command, ...rest] = write;
      await admin.call(command, `multilock:{${electionGroup}}`, ...rest);
      await refused(url, /is not a lease/, { electionGroup });
    }
  } finally {
    admin.disconnect();
  }
}

async function tls(): Promise<void> {
  const server = await startTlsRedis("IP:127.0.0.1");
  const { port, ca, cert, key } = server;
  const at = (settings: Record<string, string>) => `rediss://127.0.0.1:${port}?${new URLSearchParams(settings)}`;
  try {
    await refusedToAll(at({}), /certificate/);
    if (TELLS_ALERTS) await refusedToAll(at({ ca }), /certificate/i);
    await refusedToAll(at({ ca, cert, key, servername: "elsewhere.example" }), /elsewhere|altname/);
    await refusedToAll(at({ ca: "/does/not/exist.pem" }), /setting "ca"/);
  } finally {
    await server.stop();
  }
}
