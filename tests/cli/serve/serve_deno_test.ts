/** `elect serve`: what it answers, and what becomes of it. */

import assert from "node:assert/strict";
import { request } from "node:http";
import { eventually, onEachRuntime, start, temporary } from "../elect.ts";
import { Described } from "./described.ts";
import { EventReader, startServing, TOKEN } from "./served.ts";

const AUTHORISED = { headers: { authorization: `Bearer ${TOKEN}` } };

onEachRuntime("elect serve answers as its description says", async (runtime) => {
  await using place = await temporary();
  await using serving = await startServing(["nightly", "other", "--id", "web-1", "--metadata", "zone=a"], {
    runtime,
    env: { ELECT_PROVIDER: place.url },
  });
  const api = await Described.at(serving.url);
  await eventually(async () => (await fetch(`${serving.url}/readyz`)).ok, "that it is ready");
  await api.ask("GET", "/openapi.json", 200);
  const { elections } = await api.ask("GET", "/v1/elections", 200);
  assert.deepEqual(elections.map((each: { electionGroup: string }) => each.electionGroup), ["nightly", "other"]);
  const nightly = await api.ask("GET", "/v1/elections/nightly", 200);
  assert.deepEqual([nightly.role, nightly.leader.leaderId, nightly.leader.token], ["leader", "web-1", "1"]);
  assert.deepEqual(nightly.leader.metadata, { zone: "a" });
  assert.deepEqual(nightly.terms.map(({ token, reason }: Record<string, unknown>) => [token, reason]), [["1", null]]);
  await api.ask("GET", "/v1/elections/unknown", 404);
  for (const path of ["/healthz", "/readyz", "/leaderz"]) {
    await api.ask("GET", path, 200);
    await api.ask("GET", `${path}?group=unknown`, 404);
  }
  assert.match(await api.ask("GET", "/metrics", 200), /^multilock_election_is_leader\{.*group="nightly".*\} 1$/m);
  const open = await api.ask("GET", "/metrics", 200, { headers: { accept: "application/openmetrics-text" } });
  assert.match(open, /^# TYPE multilock_election_terms counter\n[^]*# EOF\n$/m);
  assert.deepEqual(await api.ask("GET", "/", 200), { name: "web-1" });
  assert.match(await api.ask("GET", "/", 200, { headers: { accept: "text/html,*/*" } }), /^<!doctype html>/i);
  await api.ask("GET", "/?group=unknown", 404);
  // Whoever names more than one type gets the one that it likes best.
  assert.deepEqual(
    await api.ask("GET", "/", 200, { headers: { accept: "text/html;q=0.5, application/json" } }),
    { name: "web-1" },
  );
  assert.doesNotMatch(
    await api.ask("GET", "/metrics", 200, { headers: { accept: "application/openmetrics-text;q=0, text/plain" } }),
    /# EOF/,
  );

  const path = "/v1/elections/nightly/release";
  await api.ask("POST", path, 401);
  await api.ask("POST", path, 401, { headers: { authorization: `Bearer ${TOKEN}x` } });
  await api.ask("POST", path, 400, { ...AUTHORISED, body: "{" });
  await api.ask("POST", path, 400, { ...AUTHORISED, body: '{"cooldown":"soon"}' });
  for (const body of ["[]", "null", "1", '{"cooldown":-1}', '{"after":"1s"}']) {
    await api.ask("POST", path, 400, { ...AUTHORISED, body });
  }
  await api.ask("POST", path, 413, { ...AUTHORISED, body: JSON.stringify({ cooldown: " ".repeat(5_000) }) });
  await api.ask("POST", "/v1/elections/unknown/release", 404, AUTHORISED);
  const released = await api.ask("POST", path, 200, { ...AUTHORISED, body: '{"cooldown":"1h"}' });
  assert.deepEqual(released, { released: true, token: "1" });
  await api.ask("POST", path, 409, AUTHORISED);
  await api.ask("GET", "/leaderz", 503);
  assert.deepEqual(await api.ask("GET", "/", 200), { name: "" });
  const after = await api.ask("GET", "/v1/elections/nightly", 200);
  assert.deepEqual([after.role, after.leader, after.terms[0].reason], ["follower", null, "released"]);

  // Those that need a server without a token, a dead backend, one that stops, or a thousand readers.
  const elsewhere = [
    "POST /v1/elections/{group}/release 403",
    "GET /healthz 503",
    "GET /readyz 503",
    "GET /v1/elections/{group}/changes 200",
    "GET /v1/elections/{group}/changes 404",
    "GET /v1/elections/{group}/changes 503",
    "GET /v1/changes 200",
    "GET /v1/changes 503",
  ];
  assert.deepEqual(api.answers.filter((each) => !api.seen.has(each) && !elsewhere.includes(each)), []);
  assert.equal((await fetch(`${serving.url}/v1/elections`, { method: "DELETE" })).status, 405);
  serving.process.kill("SIGTERM");
  assert.equal((await serving.process.finished()).code, 0);
});

Deno.test("elect serve streams changes, and whoever resumes misses none", async () => {
  await using place = await temporary();
  await using serving = await startServing(["nightly", "--id", "web-1"], { env: { ELECT_PROVIDER: place.url } });
  const url = `${serving.url}/v1/elections/nightly/changes`;
  await using first = new EventReader(url);
  const led = await first.until(({ data }) => data.leader?.token === "1", "the first leader");
  const release = () =>
    fetch(`${serving.url}/v1/elections/nightly/release`, { method: "POST", ...AUTHORISED, body: '{"cooldown":0}' });
  for (const token of ["2", "3"]) {
    await release();
    await first.until(({ data, type }) => type === "change" && data.leader?.token === token, `token ${token}`);
  }
  await using second = new EventReader(url, led.id);
  await second.until(({ type }) => type === "state", "the state");
  const missed = second.events.filter(({ type }) => type === "change").map(({ data }) => [data.type, data.reason]);
  const whole = first.events.slice(first.events.indexOf(led) + 1).filter(({ type }) => type === "change");
  assert.deepEqual(missed, whole.map(({ data }) => [data.type, data.reason]));
  assert.deepEqual(missed, [["lost", "released"], ["acquired", undefined], ["lost", "released"], [
    "acquired",
    undefined,
  ]]);
  await using foreign = new EventReader(url, "00000000-1");
  await foreign.until(({ type }) => type === "state", "the state");
  assert.deepEqual(foreign.events.slice(0, 2).map(({ type }) => type), ["reset", "state"]);
  assert.equal((await fetch(`${serving.url}/v1/elections/unknown/changes`)).status, 404);

  serving.process.kill("SIGTERM");
  await first.until(({ type }) => type === "bye", "the end");
  assert.equal((await serving.process.finished()).code, 0);
  await eventually(() => first.isOver, "that the stream has ended");
  const lost = first.events.filter(({ type }) => type === "change").at(-1);
  assert.deepEqual([lost?.data.type, lost?.data.reason, lost?.data.leader], ["lost", "stopped", null]);
});

Deno.test("elect serve hands over before it ends, also to those that only it told", async () => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url };
  const timing = ["--heartbeat-timeout", "4s"];
  await using first = await startServing(["nightly", "--id", "a", ...timing], { env });
  await eventually(async () => (await fetch(`${first.url}/leaderz`)).ok, "a leader");
  await using second = await startServing(["nightly", "--id", "b", ...timing], { env });
  await using observer = await startServing(["nightly", "--observe", ...timing], { env });
  const seen = async (url: string) => await (await fetch(url)).json();
  assert.deepEqual(await seen(`${second.url}/`), { name: "a" });
  assert.equal((await seen(`${observer.url}/v1/elections/nightly`)).role, "observer");
  // For longer than a lease lives while nobody asks the observer, which has to know of its renewals all the same.
  await eventually(
    async () => /renewals_total\{.*"renewed".*\} ([4-9]|\d\d)/.test(await (await fetch(`${first.url}/metrics`)).text()),
    "four renewals",
  );
  first.process.kill("SIGTERM");
  assert.equal((await first.process.finished()).code, 0);
  await eventually(async () => (await fetch(`${second.url}/leaderz`)).ok, "that the other leads");
  const { leader, terms } = await seen(`${observer.url}/v1/elections/nightly`);
  assert.deepEqual([leader.leaderId, leader.token, terms[0].token], ["b", "2", "2"]);
  assert.deepEqual([terms[1].leaderId, terms[1].reason], ["a", "released"]);
  assert.equal((await fetch(`${observer.url}/leaderz`)).status, 503);
});

Deno.test("elect serve listens on a socket, also where a killed one has left its own, and beside nobody", async () => {
  await using place = await temporary();
  const socket = `${place.path}/elect.sock`;
  const env = { ELECT_PROVIDER: place.url };
  const ask = () =>
    new Promise<number | undefined>((resolve) => {
      const asked = request({ socketPath: socket, path: "/healthz", headers: { host: "anything" } }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      asked.on("error", () => resolve(undefined));
      asked.end();
    });
  await using killed = start(["serve", "nightly", "--socket", socket], { env });
  await eventually(async () => await ask() === 200, "an answer");
  assert.equal(((await Deno.stat(socket)).mode ?? 0) & 0o777, 0o660);
  await using beside = start(["serve", "nightly", "--socket", socket], { env });
  const refused = await beside.finished();
  assert.equal(refused.code, 78);
  assert.match(refused.stderr, /Cannot listen on .*elect\.sock": somebody else does/);
  killed.kill("SIGKILL");
  await killed.finished();
  await using next = start(["serve", "nightly", "--socket", socket], { env });
  await eventually(async () => await ask() === 200, "an answer");
  next.kill("SIGTERM");
  assert.equal((await next.finished()).code, 0);
  await assert.rejects(Deno.stat(socket), Deno.errors.NotFound);
});

Deno.test("elect serve tells of a backend that it cannot reach, and of one that it cannot use at all", async () => {
  await using place = await temporary();
  await using serving = await startServing(["nightly"], {
    env: { ELECT_PROVIDER: "redis://u:secret@127.0.0.1:1", ELECT_SERVE_TOKEN: "" },
  });
  const api = await Described.at(serving.url);
  const { detail } = await api.ask("GET", "/healthz", 503);
  assert.match(detail, /^the backend: Cannot reach redis /);
  const { backend } = await api.ask("GET", "/v1/elections/nightly", 200);
  assert.equal(backend.ok, false);
  assert.doesNotMatch(detail + backend.error.message, /secret/);
  await api.ask("POST", "/v1/elections/nightly/release", 403, AUTHORISED);
  await Deno.writeTextFile(`${place.path}/leases`, "a file where a directory should be");
  await using hopeless = start(["serve", "nightly", "--port", "0"], { env: { ELECT_PROVIDER: place.url } });
  const { code, stderr } = await hopeless.finished();
  assert.equal(code, 69, stderr);
});

Deno.test("elect serve refuses what it cannot serve, with what is wrong", async () => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url };
  const taken = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  await Deno.writeTextFile(`${place.path}/mine`, "not theirs");
  const cases: readonly [args: string[], code: number, said: RegExp][] = [
    [[], 64, /needs the name of an election group/],
    [["a/b"], 64, /Cannot use electionGroup/],
    [["a", "a"], 64, /Cannot serve a group twice/],
    [["a", "--port", "65536"], 64, /--port/],
    [["a", "--socket", "x", "--port", "1"], 64, /Cannot use --socket with --port/],
    [["a", "--token-file", `${place.path}/none`], 64, /Cannot read --token-file/],
    [["a", "--port", String(taken.addr.port)], 78, /Cannot listen on "127\.0\.0\.1:\d+"/],
    [["a", "--socket", `${place.path}/mine`], 78, /Cannot listen on ".*\/mine": it is there, and is no socket/],
  ];
  for (const [args, code, said] of cases) {
    await using process = start(["serve", ...args], { env });
    const finished = await process.finished();
    assert.equal(finished.code, code, finished.stderr);
    assert.match(finished.stderr, said);
  }
  assert.equal(await Deno.readTextFile(`${place.path}/mine`), "not theirs");
  taken.close();
});
