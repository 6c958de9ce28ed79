/** What the etcd provider says of its cluster, on real servers. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { etcdProvider } from "../../providers/etcd.ts";
import type { Inspection } from "../../src/provider.ts";
import { backend } from "../servers/backend.ts";
import { etcdProgram, type EtcdSetup, startEtcd } from "../servers/etcd.ts";
import { startEtcdCluster } from "../servers/etcd_cluster.ts";
import { freePort } from "../servers/process.ts";
import type { TestServer } from "../servers/server.ts";
import { until } from "../until.ts";
import { isOfThisHost, soon } from "./asking.ts";
import { enableAuth } from "./etcd/auth.ts";
import { ask } from "./etcd/support.ts";

const isThere = backend("etcd") !== null && await etcdProgram("etcd").catch(() => null) !== null;

/** Inspects through `url`; returns each finding as `ABOUT LEVEL`, and their texts. */
async function inspected(url: string) {
  await using provider = etcdProvider({ url });
  const inspection: Inspection | undefined = await provider.inspect?.(soon());
  assert.ok(inspection);
  const { version, findings, clockOffsetMs } = inspection;
  return {
    version,
    clockOffsetMs,
    levels: findings.map(({ about, level }) => `${about} ${level}`),
    /** The finding about something, with its remedy. */
    on(subject: string): string {
      const finding = findings.find(({ about }) => about === subject);
      return finding === undefined ? "" : `${finding.text} | ${finding.remedy ?? ""}`;
    },
  };
}

function inspectionTest(name: string, setup: EtcdSetup, work: (server: TestServer) => Promise<void>): void {
  if (!isThere) return;
  test(name, async () => {
    const server = await startEtcd(setup);
    try {
      await work(server);
    } finally {
      await server.stop();
    }
  });
}

inspectionTest(
  "inspect() tells version, rights, members and alarms, and addresses that lead elsewhere",
  {},
  async (old) => {
    const { version, levels, on, clockOffsetMs } = await inspected(old.url);
    isOfThisHost(clockOffsetMs);
    assert.match(version ?? "", /^etcd 3\.4\.\d+$/);
    assert.deepEqual(levels, ["reading ok", "writing ok", "members warning", "version ok", "alarms ok"]);
    assert.match(on("members"), /one alone.*three/);
    assert.match(on("reading"), /below multilock\//);
    // One address leads elsewhere, one nowhere.
    const other = await startEtcd({ version: "3.5" });
    try {
      const dead = `127.0.0.1:${await freePort()}`;
      const both = await inspected(`${old.url},${dead},${other.url.replace("etcd://", "")}`);
      assert.match(both.version ?? "", /3\.4\.\d+, 3\.5\.\d+/);
      assert.match(both.on("cluster"), /2 clusters.*one cluster/);
      assert.match(both.on(`member at http://${dead}`), /refused.*address/i);
    } finally {
      await other.stop();
    }
  },
);

inspectionTest("inspect() tells that there is no space", { args: ["--quota-backend-bytes=65536"] }, async ({ url }) => {
  // The size counts once a batch of writes is on the disk, up to a tenth of a second later.
  const fill = () => ask(url, "kv/put", { key: btoa("other"), value: btoa("x".repeat(40_000)) });
  const refusal = () => fill().then(() => null, String);
  assert.match(await until("it is full", refusal), /space exceeded/);
  const { levels, on } = await inspected(url);
  assert.deepEqual(levels, ["reading ok", "writing error", "members warning", "version ok", "alarms error"]);
  assert.match(on("writing"), /space exceeded/);
  assert.match(on("alarms"), /quota.*defrag.*alarm disarm/);
});

for (const version of ["3.4", "3.5"] as const) {
  inspectionTest(
    `inspect() tells which right a user lacks, and shows no password (${version})`,
    { version },
    async (server) => {
      await enableAuth(server, version);
      const as = (user: string) => inspected(server.url.replace("//", `//${user}:hunter%252@`));
      const allowed = await as("elect");
      assert.deepEqual(allowed.levels.slice(0, 2), ["reading ok", "writing ok"]);
      const reader = await as("reader");
      assert.deepEqual(reader.levels.slice(0, 2), ["reading ok", "writing error"]);
      assert.match(
        reader.on("writing"),
        /permission denied.*grant-permission ROLE --prefix=true readwrite multilock\//,
      );
      const stranger = await inspected(server.url);
      assert.deepEqual(stranger.levels.slice(0, 2), ["reading error", "writing error"]);
      const wrong = await inspected(server.url.replace("//", "//elect:hunter@"));
      assert.match(wrong.on("reading"), /authentication failed/);
      assert.doesNotMatch(JSON.stringify([wrong, reader]), /hunter/);
    },
  );
}

if (isThere) {
  test("inspect() tells what an old version risks where members follow one another", { timeout: 120_000 }, async () => {
    const cluster = await startEtcdCluster("3.4");
    try {
      const { levels, on } = await inspected(cluster.url);
      assert.deepEqual(levels, ["reading ok", "writing ok", "members ok", "version warning", "alarms ok"]);
      assert.match(on("version"), /revoke.*3\.4\.31/);
    } finally {
      await cluster.stop();
    }
  });

  test("inspect() counts the members that have a vote, and names a learner", { timeout: 120_000 }, async () => {
    const cluster = await startEtcdCluster();
    try {
      const whole = await inspected(cluster.url);
      assert.deepEqual(whole.levels, ["reading ok", "writing ok", "members ok", "version ok", "alarms ok"]);
      const address = await cluster.learner();
      const { levels, on } = await inspected(`etcd://${address},${cluster.url.replace("etcd://", "")}`);
      assert.match(on("members"), /^3: /);
      assert.match(on(`member at http://${address}`), /a learner.*promote/);
      assert.ok(levels.includes(`member at http://${address} error`));
      const leader = await cluster.leader();
      await leader.kill();
      await cluster.leader(cluster.members.filter((member) => member !== leader));
      const left = await inspected(cluster.url);
      assert.ok(left.levels.includes(`member at http://${leader.address} warning`), left.levels.join());
      assert.match(left.on("members"), /^3: /);
    } finally {
      await cluster.stop();
    }
  });
}
