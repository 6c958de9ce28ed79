/** Messages for those who make a mistake: each says the rule, and what was given. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { elect, type ElectionOptions, LeaderElection, openProvider, type Provider } from "../mod.ts";
import { azureBlobProvider } from "../providers/azure_blob.ts";
import { consulProvider } from "../providers/consul.ts";
import { etcdProvider } from "../providers/etcd.ts";
import { fileProvider } from "../providers/file.ts";
import { memoryProvider } from "../providers/memory.ts";
import { mysqlProvider } from "../providers/mysql.ts";
import { postgresProvider } from "../providers/postgres.ts";
import { redisProvider } from "../providers/redis.ts";
import { sqliteProvider } from "../providers/sqlite.ts";
import { sqlserverProvider } from "../providers/sqlserver.ts";
import { zookeeperProvider } from "../providers/zookeeper.ts";

const FACTORIES: readonly ((options: never) => Provider)[] = [
  azureBlobProvider,
  consulProvider,
  etcdProvider,
  fileProvider,
  memoryProvider,
  mysqlProvider,
  postgresProvider,
  redisProvider,
  sqliteProvider,
  sqlserverProvider,
  zookeeperProvider,
];

const group = { electionGroup: "messages" };
/** A caller without types. */
const loose = elect as (...args: unknown[]) => Promise<LeaderElection>;
const make = (provider: unknown, options: unknown = group) =>
  new LeaderElection(provider as Provider, options as ElectionOptions);

const MISTAKES: readonly (readonly [call: () => unknown, message: RegExp])[] = [
  [() => loose("memory:"), /^Cannot use options undefined: they must be an object with an electionGroup$/],
  [() => loose("memory:", "nightly"), /^Cannot use options "nightly": they must be an object with an electionGroup$/],
  [() => loose("memory:", {}), /^Cannot use electionGroup undefined: it must match /],
  [() => loose(7, group), /^Cannot use provider: it must have acquire, /],
  [() => loose("", group), /^Cannot open provider "": no provider is registered for it; known are /],
  [() => make("memory:"), /^Cannot use provider: it must have acquire, .*elect\(\) takes a URL as well$/],
  [() => make(openProvider("memory:")), /^Cannot use provider: it must have acquire, /],
  [
    () => make(memoryProvider(), { ...group, logger: {} }),
    /^Cannot use logger \[an object\]: it must be null, or have /,
  ],
  [() => make(memoryProvider(), { ...group, metadata: [] }), /^Cannot use metadata \[an array\]: it must be an object/],
  [
    () => make(fileProvider({ directory: "/tmp" }), { ...group, heartbeatTimeout: 10 }),
    /^Cannot use heartbeatTimeout 10 with file: it must be at least 100 ms$/,
  ],
  [
    () => make(memoryProvider()).changes({ types: "acquired" as never }),
    /^Cannot subscribe to types "acquired": they must be an array, such as \["acquired", "lost"\]$/,
  ],
  [() => elect("redis:localhost", group), /it must look like redis:\/\/user:password@host:6379\/0/],
  [() => elect("consul:localhost", group), /"consul:localhost": it must begin with consul:\/\//],
  [() => elect("zookeeper:localhost", group), /"zookeeper:localhost": it must look like "zookeeper:\/\/host/],
  [() => elect("file:", group), /^Cannot open file provider "file:": it names no directory$/],
  [() => elect("sqlite::memory:", group), /it must be sqlite:\/\/\/PATH or sqlite:\.\/PATH/],
  [() => fileProvider({ url: "redis://h" }), /^Cannot open file provider "redis:\/\/h": it must begin with file:$/],
  [() => memoryProvider({ name: 7 } as never), /^Cannot open memory: its name must be text, is number$/],
  [() => memoryProvider({ nam: "a" } as never), /"nam".*did you mean "name"/],
];

test("a mistake is told by its rule and what was given", async () => {
  for (const [call, message] of MISTAKES) {
    await assert.rejects(async () => {
      const made = await call();
      if (made instanceof LeaderElection) await made.stop();
    }, (error: Error) => {
      assert.ok(error instanceof TypeError || error instanceof RangeError, `${call}: ${error}`);
      assert.match(error.message, message);
      return true;
    });
  }
});

test("a factory that is given a URL instead of options refuses it, and tells no password", () => {
  for (const factory of FACTORIES) {
    for (const wrong of ["redis://:hunter2@h", new URL("redis://:hunter2@h"), null, ["redis://h"]]) {
      assert.throws(() => factory(wrong as never), (error: Error) => {
        assert.match(error.message, /its options must be an object, such as \{ url: "\.\.\." \}/, factory.name);
        assert.doesNotMatch(error.message, /hunter2/);
        return true;
      });
    }
  }
});
