/** TLS against a real server: to names and to addresses, with an authority of one's own and client certificates. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { redisProvider } from "../../../providers/redis.ts";
import { backend } from "../../servers/backend.ts";
import { startTlsRedis } from "../../servers/redis_tls.ts";
import { LONG, soon, win } from "./stage.ts";

if (backend("redis") !== null) {
  test("rediss: takes authority and client certificate from files, to a name and to an address", LONG, files);
  test(
    "rediss: takes authority and client certificate as options, and expects the name that it is told",
    LONG,
    options,
  );
}

async function files(): Promise<void> {
  const server = await startTlsRedis("DNS:localhost,IP:127.0.0.1");
  try {
    const { port, ca, cert, key } = server;
    const parameters = new URLSearchParams({ ca, cert, key });
    for (const host of ["localhost", "127.0.0.1"]) {
      await using provider = redisProvider({ url: `rediss://${host}:${port}/2?${parameters}` });
      await provider.healthCheck(soon());
      const lease = await win(provider, `to-${host}`);
      const hints = provider.watch?.(`to-${host}`, soon())[Symbol.asyncIterator]();
      await hints?.next();
      assert.equal(await provider.renew(lease, soon()), "renewed");
      assert.equal(await provider.release(lease, soon()), "released");
      await hints?.next();
    }
    const refused: [string, RegExp][] = [
      // It is not trusted, it asks for a certificate, a file is not there.
      [`rediss://127.0.0.1:${port}`, /certificate|issuer|UNABLE|unknown/i],
      // What is told of the second depends on whether its alert comes before or after the first write.
      [`rediss://127.0.0.1:${port}?ca=${encodeURIComponent(ca)}`, /Cannot reach redis/],
      [`rediss://127.0.0.1:${port}?ca=/does/not/exist.pem`, /setting "ca".*exist\.pem/],
    ];
    for (const [url, why] of refused) {
      await using provider = redisProvider({ url });
      await assert.rejects(provider.healthCheck(soon()), why, url);
    }
  } finally {
    await server.stop();
  }
}

async function options(): Promise<void> {
  const server = await startTlsRedis("DNS:redis.example.com");
  try {
    const [ca, cert, key] = await Promise.all(
      [server.ca, server.cert, server.key].map((path) => readFile(path, "utf8")),
    );
    assert.ok(ca && cert && key);
    const url = `rediss://127.0.0.1:${server.port}`;
    const parameters = new URLSearchParams({ ca: server.ca, cert: server.cert, key: server.key });
    await using named = redisProvider({ url, tls: { ca, cert, key, servername: "redis.example.com" } });
    await win(named, "named");
    await using byUrl = redisProvider({ url: `${url}?${parameters}&servername=redis.example.com` });
    await win(byUrl, "by-url");
    await using careless = redisProvider({ url, tls: { ca, cert, key, rejectUnauthorized: false } });
    await win(careless, "careless");
    await using wary = redisProvider({ url, tls: { ca, cert, key } });
    await assert.rejects(wary.healthCheck(soon()), /certificate|altname|valid for|IP/i);
  } finally {
    await server.stop();
  }
}
