/** Two `elect serve` on Redis: a failover that everybody tells of alike, and a load that changes nothing. */

import assert from "node:assert/strict";
import { startChromium } from "../../servers/chromium.ts";
import { redisServer } from "../../servers/redis.ts";
import { patience } from "../../slowness.ts";
import { eventually } from "../elect.ts";
import { Load } from "./load.ts";
import { EventReader, startServing, toolsOr } from "./served.ts";

const quiet = { sanitizeOps: false, sanitizeResources: false };

async function startRedis() {
  await redisServer.install();
  return await redisServer.start();
}

/** Returns the value of a series of the metrics, by its name and one of its labels. */
async function metric(url: string, name: string, label = 'group="nightly"'): Promise<number | undefined> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split("\n").find((each) => each.startsWith(`multilock_election_${name}{`) && each.includes(label));
  return line === undefined ? undefined : Number(line.split(" ").at(-1));
}

async function leads(url: string): Promise<boolean> {
  return (await fetch(`${url}/leaderz`)).ok;
}

Deno.test({ name: "page, events, metrics and /leaderz agree on a failover", ...quiet }, async () => {
  const tools = await toolsOr(async () => ({ redis: await startRedis(), browser: await startChromium() }));
  if (tools === null) return;
  const { redis, browser } = tools;
  try {
    const setting = { env: { ELECT_PROVIDER: redis.url } };
    const timing = ["--heartbeat-timeout", "3s"];
    await using first = await startServing(["nightly", "--id", "web-1", ...timing], setting);
    await eventually(() => leads(first.url), "a leader");
    await using second = await startServing(["nightly", "--id", "web-2", ...timing], setting);
    await using observer = await startServing(["nightly", "--observe", ...timing], setting);
    await using events = new EventReader(`${second.url}/v1/elections/nightly/changes`);
    await events.until(({ data }) => data.leader?.leaderId === "web-1", "the first leader");
    const page = await browser.newPage();
    await page.goto(`${observer.url}/`);
    const shown = async () =>
      `${await page.locator(".leader").textContent()} ${await page.locator(".facts").textContent()}`;
    await eventually(async () => /^web-1 /.test(await shown()), "the first leader on the page");
    assert.deepEqual([await leads(first.url), await leads(second.url), await leads(observer.url)], [
      true,
      false,
      false,
    ]);
    const before = await metric(first.url, "term_token");
    assert.ok(before !== undefined);
    assert.deepEqual([await metric(second.url, "term_token"), await metric(observer.url, "term_token")], [
      before,
      before,
    ]);

    // It stands still, as a machine does that is suspended: the other takes over, and it goes on none the wiser.
    first.process.kill("SIGSTOP");
    await eventually(() => leads(second.url), "that the other leads");
    const { data } = await events.until(({ data }) => data.type === "acquired", "the event");
    const token = data.leader.token;
    assert.ok(BigInt(token) > BigInt(before));
    assert.deepEqual([data.leader.leaderId, data.terms[1].reason], ["web-2", "expired"]);
    await eventually(async () => (await shown()).startsWith(`web-2 token ${token}`), "the new leader on the page");
    await eventually(
      async () => await metric(observer.url, "term_token") === Number(token),
      "its token at the observer",
    );
    assert.deepEqual([await metric(second.url, "is_leader"), await metric(second.url, "term_token")], [
      1,
      Number(token),
    ]);
    assert.equal(await metric(second.url, "leaderless_duration_seconds_count"), 1);
    const { leader } = await (await fetch(`${observer.url}/v1/elections/nightly`)).json();
    assert.deepEqual([leader.leaderId, leader.token], ["web-2", token]);

    first.process.kill("SIGCONT");
    assert.equal(await leads(first.url), false, "not for one answer does the old one lead again");
    await eventually(async () => await metric(first.url, "term_token") === Number(token), "its token at the old one");
    assert.deepEqual([await metric(first.url, "is_leader"), await leads(second.url)], [0, true]);
    assert.equal(await metric(first.url, "terms_total", 'reason="expired"'), 1);
  } finally {
    await browser.close();
    await redis.stop();
  }
});

/** For how long the load lasts: over two heartbeats of the default timing, in seconds. */
const LOAD_S = 12;
const READERS = 500;
const PER_SECOND = 1_000;

Deno.test({ name: "500 readers and hostile requests cost no heartbeat, and nobody the lead", ...quiet }, async () => {
  const tools = await toolsOr(async () => ({ redis: await startRedis() }));
  if (tools === null) return;
  const { redis } = tools;
  try {
    const setting = { env: { ELECT_PROVIDER: redis.url } };
    await using first = await startServing(["nightly", "--id", "web-1"], setting);
    await eventually(() => leads(first.url), "a leader");
    await using second = await startServing(["nightly", "--id", "web-2"], setting);
    await using events = new EventReader(`${second.url}/v1/elections/nightly/changes`);
    await events.until(({ data }) => data.leader?.leaderId === "web-1", "the leader");
    const token = await metric(first.url, "term_token");
    const before = events.events.length;

    using load = new Load(first.url);
    load.read("nightly", READERS);
    await eventually(() => load.received.every((bytes) => bytes > 0), "that all readers read");
    await load.attack(PER_SECOND, LOAD_S);
    // Answered in the middle of it, as a probe must be. One that comes when all connections are taken asks again.
    await eventually(() => leads(first.url).catch(() => false), "an answer to a probe");

    assert.ok(load.opened >= PER_SECOND * LOAD_S, `${load.opened} connections`);
    const [limit = 0, remaining = 0] = await Promise.all(
      ["validity_limit_seconds", "validity_remaining_seconds"].map((name) => metric(first.url, name)),
    );
    const intervalS = 5;
    const lateS = limit - intervalS - remaining;
    console.log(
      `the latest heartbeat was answered ${lateS.toFixed(3)} s late, with ${remaining.toFixed(3)} s to spare`,
    );
    assert.ok(lateS < patience(2_500) / 1_000, `the latest heartbeat was answered ${lateS} s late`);
    assert.equal(await metric(first.url, "renewals_total", 'outcome="failed"'), 0);
    assert.equal(await metric(first.url, "term_token"), token);
    const leaders = new Set(events.events.slice(before).map(({ data }) => data.leader?.token));
    assert.deepEqual([...leaders], [String(token)], "leadership stayed where it was");

    // Where all connections are taken, one is closed before it is read.
    const tell = (name: string) => {
      const endings = [...load.endings.get(name)?.keys() ?? []];
      return endings.filter((each) => each !== "closed" || endings.length === 1).join(",");
    };
    await eventually(() => tell("slow") !== "" && tell("slow body") !== "", "that the slow are cut off");
    const seen = Object.fromEntries(
      ["oversized headers", "malformed", "slow", "foreign host", "unauthorised"].map((name) => [name, tell(name)]),
    );
    assert.deepEqual(seen, {
      "oversized headers": "closed",
      "malformed": "closed",
      "slow": "closed",
      "foreign host": "421",
      "unauthorised": "401",
    });
    assert.match(tell("oversized body"), /^(401|closed)$/);
    const [bytes] = load.received;
    await eventually(() => (load.received[0] ?? 0) > (bytes ?? 0), "that readers still hear of heartbeats");
  } finally {
    await redis.stop();
  }
});
