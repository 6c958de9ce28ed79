/** URLs of Redis, and what is refused in them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { redisProvider } from "../../../providers/redis.ts";
import { parseTarget } from "../../../providers/redis/target.ts";

test("parseTarget() reads hosts, credentials and databases", () => {
  const read = (url: string) => {
    const { topology, addresses, primary, credentials, database } = parseTarget(url);
    return [topology, addresses.map(({ host, port }) => `${host} ${port}`).join(), primary, credentials, database];
  };
  assert.deepEqual(read("redis://localhost"), ["server", "localhost 6379", "", {}, 0]);
  assert.deepEqual(read("redis://"), ["server", "127.0.0.1 6379", "", {}, 0]);
  assert.deepEqual(read("REDISS://[::1]:7/"), ["server", "::1 7", "", {}, 0]);
  assert.deepEqual(read("redis://u:p%40%2F%3A%25@h:1/15"), [
    "server",
    "h 1",
    "",
    { username: "u", password: "p@/:%" },
    15,
  ]);
  assert.deepEqual(read("redis://:p@h"), ["server", "h 6379", "", { password: "p" }, 0]);
  assert.deepEqual(read("redis://u@h"), ["server", "h 6379", "", { username: "u", password: "" }, 0]);
  assert.deepEqual(read("redis://:@h"), ["server", "h 6379", "", {}, 0]);
  assert.deepEqual(read("redis+sentinel://u:p@a,b:1,[::1]/my%2Fname/3"), [
    "sentinel",
    "a 26379,b 1,::1 26379",
    "my/name",
    { username: "u", password: "p" },
    3,
  ]);
  assert.deepEqual(read("rediss+cluster://a,b:1"), ["cluster", "a 6379,b 1", "", {}, 0]);
  assert.deepEqual(read("redis+cluster://a/0"), ["cluster", "a 6379", "", {}, 0]);
});

test("parseTarget() reads settings", () => {
  const { prefix, socketTimeoutMs, tls } = parseTarget(
    "rediss://h/0?prefix=a%40b:&socketTimeout=2s&ca=/a.pem&cert=c&key=k&servername=s",
  );
  assert.deepEqual([prefix, socketTimeoutMs], ["a@b:", 2_000]);
  assert.deepEqual({ ...tls }, { ca: "/a.pem", cert: "c", key: "k", servername: "s" });
  assert.equal(parseTarget("redis://h?socketTimeout=700").socketTimeoutMs, 700);
  assert.equal(parseTarget("redis://h").tls, null);
  const { sentinelCredentials } = parseTarget("redis+sentinel://h/n?sentinelUsername=a&sentinelPassword=b");
  assert.deepEqual(sentinelCredentials, { username: "a", password: "b" });
});

/** What ends a part of a URL, or starts an escape. */
for (const special of ["@", ":", "/", "?", "#", "%", "@/", "/@", "#@", "?a=b@", " ", "@h:1/", "/0?x=1&y="]) {
  for (const scheme of ["redis", "rediss", "redis+sentinel", "rediss+cluster"]) {
    test(`redisProvider() refuses a ${scheme}: URL whose password has "${special}" unencoded, and tells nothing of it`, () => {
      for (const password of [`zqa${special}zqb`, `${special}zqa`, `zqa${special}`, `12${special}zq`]) {
        for (const login of [`zeno:${password}`, `:${password}`]) {
          const url = `${scheme}://${login}@127.0.0.1:1/0`;
          let error: unknown;
          try {
            redisProvider({ url });
          } catch (thrown) {
            error = thrown;
          }
          // A "%" before two digits is an escape like any other.
          if (error === undefined && special === "%" && /%[0-9a-f]{2}/i.test(password)) continue;
          assert.ok(error instanceof TypeError, `"${url}" must be refused`);
          assert.match(error.message, /percent-encoded/);
          for (const part of ["zq", "zeno", "12"]) assert.ok(!error.message.includes(part), error.message);
        }
      }
    });
  }
}

test("redisProvider() refuses what a URL cannot mean", () => {
  for (
    const url of [
      ...["postgres://h", "redis:h", "redis:/h", "redis://h/zero", "redis://h/-1", "redis://h/0/1", "redis://h/1.5"],
      ...[
        "redis://h:0",
        "redis://h:65536",
        "redis://h:x",
        "redis://[h",
        "redis://a,b",
        "redis://h/0#x",
        "redis://u:%zz@h",
      ],
      ...[
        "redis+sentinel://h",
        "redis+sentinel://h/",
        "redis+sentinel://h/name/x",
        "redis+cluster://h/1",
        "redis+x://h",
      ],
    ]
  ) {
    assert.throws(() => redisProvider({ url }), TypeError, url);
  }
});

test("redisProvider() refuses settings that do not exist, or that mean nothing where they stand", () => {
  const refused: [string, RegExp][] = [
    ["redis://h?prefx=a", /"prefx".*did you mean "prefix"/],
    ["redis://h?password=x", /"password"/],
    ["redis://h?prefix=a&prefix=b", /twice/],
    ["redis://h?socketTimeout=soon", /socketTimeout/],
    ["redis://h?socketTimeout=10", /at least 50 ms/],
    ["redis://h?ca=/a.pem", /needs TLS/],
    ["rediss://h?cert=/a.pem", /together/],
    ["rediss://h?key=/a.pem", /together/],
    ["redis://h?sentinelPassword=x", /redis\+sentinel:/],
  ];
  for (const [url, why] of refused) assert.throws(() => redisProvider({ url }), why, url);
  const options = { prefx: "a:" } as object;
  assert.throws(() => redisProvider(options), /"prefx".*did you mean "prefix"/);
  assert.throws(() => redisProvider({ url: "redis://h", tls: {} }), /rediss/);
  assert.throws(() => redisProvider("redis://h" as unknown as object), TypeError);
});
