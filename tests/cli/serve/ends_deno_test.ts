/** `elect serve` while a backend is sick, while it ends, and at its limits. */

import assert from "node:assert/strict";
import { request } from "node:http";
import { connect } from "node:net";
import { eventually, onEachRuntime, temporary } from "../elect.ts";
import { oddProvider } from "../odd_provider.ts";
import { Described } from "./described.ts";
import { Load } from "./load.ts";
import { EventReader, type Serving, startServing, TOKEN } from "./served.ts";

/** Serves `groups` on a provider whose methods are replaced by `methods`, which know a directory `HERE`. */
async function serveOdd(path: string, methods: string, ...groups: string[]): Promise<Serving> {
  const helpers = `const HERE = ${JSON.stringify(path)};
const isThere = (name) => Deno.stat(HERE + "/" + name).then(() => true, () => false);
`;
  await Deno.writeTextFile(`${path}/odd.ts`, helpers + oddProvider(methods));
  // What a test holds back must not be given up on a slow machine.
  const args = [...groups, "--import", `${path}/odd.ts`, "--id", "a", "--heartbeat-timeout", "90s"];
  return await startServing(args, {
    env: { ELECT_PROVIDER: "odd:" },
  });
}

const status = async (url: string) => {
  const response = await fetch(url);
  await response.body?.cancel();
  return response.status;
};

Deno.test("elect serve hands over first: meanwhile it answers, is not ready, and tells its readers last", async () => {
  await using place = await temporary();
  const releasing = `release: async (...args) => {
    await Deno.writeTextFile(HERE + "/releasing", "");
    while (!await isThere("go")) await new Promise((resolve) => setTimeout(resolve, 20));
    return memory.release(...args);
  }`;
  await using serving = await serveOdd(place.path, releasing, "nightly", "other");
  await eventually(async () => await status(`${serving.url}/leaderz`) === 200, "a leader");
  assert.equal(await status(`${serving.url}/readyz`), 200);
  await using events = new EventReader(`${serving.url}/v1/changes`);
  await events.until(({ data }) => data.electionGroup === "other", "the second group");
  assert.deepEqual(events.events.slice(0, 2).map(({ data }) => data.electionGroup), ["nightly", "other"]);
  serving.process.kill("SIGTERM");
  await eventually(() => Deno.stat(`${place.path}/releasing`).catch(() => null), "a release");
  // The lease is not free yet: nobody is to send more work here, and a probe gets an answer.
  assert.deepEqual(
    await Promise.all(["/readyz", "/leaderz", "/healthz"].map((path) => status(serving.url + path))),
    [503, 503, 200],
  );
  assert.equal(events.isOver, false);
  assert.ok(events.events.every(({ type }) => type !== "bye"));
  await Deno.writeTextFile(`${place.path}/go`, "");
  assert.equal((await serving.process.finished()).code, 0);
  await eventually(() => events.isOver, "the end of the stream");
  const told = events.events.filter(({ type }) => type !== "state" && type !== "lease");
  for (const group of ["nightly", "other"]) {
    const own = told.filter(({ data }) => data.electionGroup === group).map(({ type, data }) => data.type ?? type);
    assert.deepEqual(own, ["lost", "bye"], group);
  }
});

onEachRuntime("elect serve waits for nobody who is slow with a head or a body", async (runtime) => {
  await using place = await temporary();
  await using serving = await startServing(["nightly"], { runtime, env: { ELECT_PROVIDER: place.url } });
  const post = `POST /v1/elections/nightly/release HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\n`;
  const slow = ["", "GET /leaderz HTTP/1.1\r\nHost: localhost\r\nX-Slow:", `${post}Content-Length: 9\r\n\r\n{`];
  const sockets = slow.map((text) => {
    const socket = connect(Number(new URL(serving.url).port), "127.0.0.1");
    socket.on("error", () => {});
    socket.resume().write(text);
    return socket;
  });
  try {
    await eventually(() => sockets.every(({ closed }) => closed), () => `ends: ${sockets.map(({ closed }) => closed)}`);
    assert.equal(await status(`${serving.url}/leaderz`), 200);
  } finally {
    for (const socket of sockets) socket.destroy();
  }
});

Deno.test("elect serve heeds the cooldown of a release", async () => {
  await using place = await temporary();
  await using serving = await startServing(["slow", "quick"], { env: { ELECT_PROVIDER: place.url } });
  await eventually(async () => await status(`${serving.url}/leaderz`) === 200, "a leader of both");
  await using events = new EventReader(`${serving.url}/v1/changes`);
  await events.until(({ data }) => data.electionGroup === "quick", "the second group");
  for (const [group, cooldown] of [["slow", "30s"], ["quick", 0]]) {
    const headers = { authorization: `Bearer ${TOKEN}` };
    const init = { method: "POST", headers, body: JSON.stringify({ cooldown }) };
    assert.equal((await fetch(`${serving.url}/v1/elections/${group}/release`, init)).status, 200);
  }
  const { data } = await events.until(({ type, data }) => type === "change" && data.type === "acquired", "a new term");
  assert.equal(data.electionGroup, "quick");
});

Deno.test("elect serve asks a backend for its health no more often than makes sense, and hears that it is well again", async () => {
  await using place = await temporary();
  const sick = `healthCheck: async () => {
    await Deno.writeTextFile(HERE + "/asked", "x", { append: true });
    if (await isThere("sick")) throw new Error("redis://u:secret@host is sick");
  }`;
  await using serving = await serveOdd(place.path, sick, "nightly");
  const healthz = `${serving.url}/healthz`;
  await eventually(async () => await status(healthz) === 200, "that it is well");
  await Deno.writeTextFile(`${place.path}/sick`, "");
  await eventually(async () => await status(healthz) === 503, "that it is sick");
  assert.doesNotMatch(await (await fetch(healthz)).text(), /secret/);
  assert.equal(await status(`${serving.url}/leaderz`), 200, "a leader leads until its deadline");
  await Deno.remove(`${place.path}/sick`);
  await eventually(async () => await status(healthz) === 200, "that it is well again");
  const asked = async () => (await Deno.readTextFile(`${place.path}/asked`)).length;
  const before = await asked();
  const began = Date.now();
  await Promise.all(Array.from({ length: 200 }, () => status(healthz)));
  const most = 1 + Math.ceil((Date.now() - began) / 2_000);
  assert.ok(await asked() - before <= most, `${await asked() - before} times`);
});

Deno.test("elect serve lets no other origin read, and has nothing cached or guessed", async () => {
  await using place = await temporary();
  await using serving = await startServing(["nightly"], { env: { ELECT_PROVIDER: place.url } });
  for (const path of ["/", "/v1/elections", "/v1/elections/nightly/changes", "/metrics", "/nowhere"]) {
    for (const accept of ["text/html", "application/json"]) {
      const headers = { accept, origin: "https://evil.example" };
      const response = await fetch(serving.url + path, { headers });
      await response.body?.cancel();
      const own = (name: string) => response.headers.get(name);
      assert.equal(own("access-control-allow-origin"), null, path);
      assert.deepEqual([own("cache-control"), own("x-content-type-options")], ["no-store", "nosniff"], path);
      assert.equal(own("cross-origin-resource-policy"), "same-origin", path);
      assert.match(own("content-security-policy") ?? "", /^default-src 'none'/, path);
    }
  }
  const foreign = await new Promise<number | undefined>((resolve, reject) => {
    const asked = request(`${serving.url}/v1/elections`, { headers: { host: "evil.example" } }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asked.on("error", reject);
    asked.end();
  });
  assert.equal(foreign, 421);
  const preflight = await fetch(`${serving.url}/v1/elections/nightly/release`, {
    method: "OPTIONS",
    headers: { origin: "https://evil.example", "access-control-request-method": "POST" },
  });
  await preflight.body?.cancel();
  assert.deepEqual([preflight.status, preflight.headers.get("access-control-allow-methods")], [405, null]);
});

Deno.test("elect serve cuts off a reader that does not read, and everybody else hears of each heartbeat", async () => {
  // Every event has 60 KiB of metadata, so that what the kernel keeps for a socket is soon full.
  const metadata = Array.from({ length: 15 }, (_, each) => ["--metadata", `m${each}=${"x".repeat(4_000)}`]).flat();
  const timing = ["--heartbeat-timeout", "10s", "--heartbeat-interval", "20ms"];
  await using serving = await startServing(["nightly", ...metadata, ...timing], { env: { ELECT_PROVIDER: "memory:" } });
  await eventually(async () => await status(`${serving.url}/leaderz`) === 200, "a leader");
  await using reads = new EventReader(`${serving.url}/v1/elections/nightly/changes`);
  const sleeper = connect(Number(new URL(serving.url).port), "127.0.0.1");
  let [received, isCut] = [0, false];
  sleeper.on("error", () => {});
  sleeper.on("close", () => isCut = true);
  sleeper.write("GET /v1/elections/nightly/changes HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const metrics = async () => await (await fetch(`${serving.url}/metrics`)).text();
  await eventually(
    async () => /^multilock_serve_dropped_readers\{.*\} 1$/m.test(await metrics()),
    "that it is dropped",
  );
  const heard = () => reads.events.length;
  const before = heard();
  await eventually(() => heard() > before + 20, "heartbeats");
  assert.ok(!reads.isOver);
  assert.match(await metrics(), /^multilock_election_is_leader\{.*\} 1$/m);
  // It reads again: there is an end, where a connection that was kept would be silent for as long as it lasts.
  sleeper.on("data", (bytes) => received += bytes.length);
  const then = heard();
  await eventually(() => isCut || heard() > then + 400, "an end, or as many heartbeats as it takes to know better");
  sleeper.destroy();
  assert.ok(isCut, `still open after ${received} bytes`);
});

Deno.test("elect serve has a thousand streams and 1,200 connections, and none beyond", async () => {
  await using place = await temporary();
  await using serving = await startServing(["nightly"], { env: { ELECT_PROVIDER: place.url } });
  await eventually(async () => await status(`${serving.url}/leaderz`) === 200, "a leader");
  const api = await Described.at(serving.url);
  {
    using load = new Load(serving.url);
    load.read("nightly", 1_000);
    await eventually(() => load.answers.every((each) => each === 200), "a thousand streams");
    await api.ask("GET", "/v1/elections/nightly/changes", 503);
    await api.ask("GET", "/v1/changes", 503);
    assert.match(await api.ask("GET", "/metrics", 200), /^multilock_serve_event_streams\{group="nightly".*\} 1000$/m);
    load.read("nightly", 300);
    await eventually(
      () => load.cut + load.answers.filter((each) => each !== undefined).length >= 1_300,
      () => `an end or an answer for each: ${load.cut} cut`,
    );
    const count = (status: number | undefined) => load.answers.filter((each) => each === status).length;
    // Some of the 1,200 are those of the questions above.
    assert.equal(count(200), 1_000);
    assert.ok(count(503) >= 190 && count(503) <= 200, `${count(503)} were told why`);
    assert.equal(count(undefined), 300 - count(503));
  }
  await eventually(async () => await status(`${serving.url}/v1/elections/nightly/changes`) === 200, "room again");
  const headers = { authorization: `Bearer ${TOKEN}` };
  await fetch(`${serving.url}/v1/elections/nightly/release`, { method: "POST", headers, body: '{"cooldown":0}' });
  const metrics = await api.ask("GET", "/metrics", 200);
  assert.match(metrics, /^multilock_election_terms_total\{group="nightly",.*reason="released"\} 1$/m);
  assert.match(metrics, /^multilock_serve_dropped_readers\{group="nightly".*\} 0$/m);
});
