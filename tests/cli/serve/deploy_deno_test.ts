/** What is there to take away: it names what `elect serve` has, and tools of its own kind accept it. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { validate } from "dockerfile-utils";
import { parse, parseAllDocuments, stringify } from "yaml";
import { parse as parseCommandLine } from "../../../cli/args.ts";
import { serveCommand } from "../../../cli/commands/serve.ts";
import { dockerCompose } from "../../servers/docker_compose.ts";
import { promtool } from "../../servers/promtool.ts";
import { systemdAnalyze } from "../../servers/systemd.ts";
import { eventually, temporary } from "../elect.ts";
import { oddProvider } from "../odd_provider.ts";
import { Recording } from "./recording.ts";
import { startServing, TOKEN, toolsOr } from "./served.ts";

const deploy = new URL("../../../deploy/", import.meta.url);
const read = (path: string) => Deno.readTextFile(new URL(path, deploy));

/** What a leader of three heartbeats and one release has to tell, in both formats. */
async function record(): Promise<{ plain: string; open: string }> {
  await using place = await temporary();
  const args = ["g", "--heartbeat-timeout", "1s"];
  await using serving = await startServing(args, { env: { ELECT_PROVIDER: place.url } });
  const scrape = async (accept: string) =>
    await (await fetch(`${serving.url}/metrics`, { headers: { accept } })).text();
  await eventually(
    async () => /renewals_total\{.*"renewed".*\} [3-9]/.test(await scrape("text/plain")),
    "three heartbeats",
  );
  const headers = { authorization: `Bearer ${TOKEN}` };
  await fetch(`${serving.url}/v1/elections/g/release`, { method: "POST", headers, body: '{"cooldown":0}' });
  await eventually(async () => /drain_duration_seconds_count\{.*\} 1/.test(await scrape("text/plain")), "a drain");
  await eventually(async () => (await fetch(`${serving.url}/leaderz`)).ok, "the next term");
  await eventually(async () => /validity_remaining/.test(await scrape("text/plain")), "its first heartbeat");
  return { plain: await scrape("text/plain"), open: await scrape("application/openmetrics-text") };
}

const recorded = record();
recorded.catch(() => {});

/** The series of a text of metrics: their names, each with the names of its labels. */
function seriesOf(text: string): Map<string, Set<string>> {
  const series = new Map<string, Set<string>>();
  // A counter or histogram that nobody has moved yet has no series, but is announced with its type.
  for (const [, name = "", type] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
    for (const suffix of type === "histogram" ? ["_bucket", "_sum", "_count"] : [""]) {
      series.set(name + suffix, new Set());
    }
  }
  for (const [, name = "", labels = ""] of text.matchAll(/^([a-z_]+)\{(.*)\} /gm)) {
    const known = series.get(name) ?? new Set();
    for (const [, label = ""] of labels.matchAll(/(\w+)="/g)) known.add(label);
    series.set(name, known);
  }
  return series;
}

Deno.test("what is recorded of elect serve is what promtool takes for metrics", async () => {
  const program = await toolsOr(promtool);
  if (program === null) return;
  const child = new Deno.Command(program, { args: ["check", "metrics"], stdin: "piped", stderr: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode((await recorded).plain));
  await writer.close();
  const { code, stderr } = await child.output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
});

Deno.test("alerts fire when they should and not otherwise, as promtool has it", async () => {
  const program = await toolsOr(promtool);
  if (program === null) return;
  for (const args of [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]]) {
    const { success, stdout, stderr } = await new Deno.Command(program, { args, cwd: new URL("prometheus/", deploy) })
      .output();
    assert.ok(success, new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr));
  }
});

/** Between two scrapes of an incident, in seconds. */
const INTERVAL_S = 15;

Deno.test("alerts fire in incidents that were recorded of elect serve, and not in those that are none", async () => {
  const program = await toolsOr(promtool);
  if (program === null) return;
  await using place = await temporary();
  await using elsewhere = await temporary();
  const incidents: { name: string; recording: Recording; fires: string[] }[] = [];
  const incident = (name: string, ...fires: string[]) => {
    const recording = new Recording();
    incidents.push({ name, recording, fires });
    return recording;
  };
  const serving = (id: string, url: string, ...args: string[]) =>
    startServing(["g", "--id", id, "--heartbeat-timeout", "2s", ...args], { env: { ELECT_PROVIDER: url } });
  const leads = (url: string) => eventually(async () => (await fetch(`${url}/leaderz`)).ok, "a leader");
  const release = async (url: string, cooldown: string | number) => {
    const headers = { authorization: `Bearer ${TOKEN}` };
    const init = { method: "POST", headers, body: JSON.stringify({ cooldown }) };
    assert.equal((await fetch(`${url}/v1/elections/g/release`, init)).status, 200);
  };

  await using a = await serving("a", place.url);
  await leads(a.url);
  await using b = await serving("b", place.url);
  const failover = incident("a leader is killed, and another takes over");
  await failover.scrape({ a: a.url, b: b.url }, 8);
  a.process.kill("SIGKILL");
  await failover.scrape({ a: null, b: b.url });
  await leads(b.url);
  await failover.scrape({ a: null, b: b.url }, 12);

  const twoPlaces = incident("one of two has another store", "ElectionTwoLeaders");
  await using c = await serving("c", elsewhere.url);
  await leads(c.url);
  await twoPlaces.scrape({ b: b.url, c: c.url }, 8);

  const comesAndGoes = incident("leadership comes and goes", "ElectionFlapping");
  for (let term = 0; term < 7; term++) {
    await comesAndGoes.scrape({ b: b.url }, 2);
    await release(b.url, 0);
    await leads(b.url);
  }

  const nobody = incident("the only one that could lead may not", "ElectionNobodyLeads");
  await release(b.url, "1h");
  await nobody.scrape({ b: b.url }, 8);

  // Its heartbeats are answered when over four fifths of the time that a lease can be relied upon have passed.
  const slow = incident("a backend takes long", "ElectionValidityLow");
  await Deno.writeTextFile(
    `${place.path}/slow.ts`,
    `let last = Date.now();\n${
      oddProvider(`renew: (...args) => {
    if (Date.now() - last < 6_000) return Promise.reject(new Error("busy"));
    last = Date.now();
    return memory.renew(...args);
  }`)
    }`,
  );
  await using d = await serving("d", "odd:", "--import", `${place.path}/slow.ts`, "--heartbeat-timeout", "8s");
  const valueOf = async (name: string) =>
    Number(
      new RegExp(`^multilock_election_${name}\\{.*\\} (.*)$`, "m").exec(await (await fetch(`${d.url}/metrics`)).text())
        ?.[1],
    );
  await eventually(
    async () => await valueOf("validity_remaining_seconds") < 0.2 * await valueOf("validity_limit_seconds"),
    "a late heartbeat",
  );
  await slow.scrape({ d: d.url }, 4);

  const tests = incidents.map(({ name, recording, fires }) => ({
    name,
    interval: `${INTERVAL_S}s`,
    input_series: recording.series,
    promql_expr_test: [{
      expr: 'count by (alertname) (ALERTS{alertstate="firing"})',
      eval_time: `${recording.lasts(INTERVAL_S)}s`,
      exp_samples: fires.map((alertname) => ({ labels: `{alertname="${alertname}"}`, value: 1 })),
    }, {
      // None of the others, at any time.
      expr: `count(max_over_time(ALERTS{alertstate="firing",alertname!~"${fires.join("|")}"}[1h]))`,
      eval_time: `${recording.lasts(INTERVAL_S)}s`,
      exp_samples: [],
    }],
  }));
  const rules = fileURLToPath(new URL("prometheus/alerts.yml", deploy));
  const file = `${place.path}/recorded_test.yml`;
  await Deno.writeTextFile(file, stringify({ rule_files: [rules], evaluation_interval: `${INTERVAL_S}s`, tests }));
  const { success, stdout, stderr } = await new Deno.Command(program, { args: ["test", "rules", file] }).output();
  assert.ok(success, new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr));
});

Deno.test("alerts, their tests and the dashboard name series and labels that elect serve has", async () => {
  const series = seriesOf((await recorded).plain);
  const dashboard = await read("grafana/elections.json");
  JSON.parse(dashboard);
  const texts = [await read("prometheus/alerts.yml"), await read("prometheus/alerts_test.yml"), dashboard];
  for (const text of texts) {
    const names = new Set([...text.matchAll(/\bmultilock_[a-z_]+/g)].map(([name]) => name));
    assert.ok(names.size >= 4, "this test must see what it is about");
    for (const name of names) assert.ok(series.has(name), `${name} is no series of ${[...series.keys()].join(", ")}`);
  }
  for (const [, name = "", labels = ""] of texts[1]?.matchAll(/(multilock_[a-z_]+)\{([^}]*)\}/g) ?? []) {
    const own = [...labels.matchAll(/(\w+)=/g)].map(([, label = ""]) => label).filter((label) => label !== "instance");
    const known = series.get(name) ?? new Set();
    if (known.size > 0) assert.deepEqual(own.filter((label) => !known.has(label)), [], name);
    else assert.deepEqual(own.slice(0, 2), ["group", "provider"], name);
  }
  assert.match((await recorded).open, /# EOF\n$/);
});

Deno.test("the unit, the containers and the pods run command lines that elect serve takes", async () => {
  const unit = await read("systemd/elect-serve.service");
  const [, started = ""] = /^ExecStart=\S+\/elect serve (.*)$/m.exec(unit) ?? [];
  const compose = parse(await read("docker/compose.yml"), { merge: true });
  const [deployment, service] = parseAllDocuments(await read("kubernetes/sidecar.yml")).map((each) => each.toJS());
  const { containers } = deployment.spec.template.spec;
  const sidecar = containers.find(({ name }: { name: string }) => name === "elect");
  const commandLines: string[][] = [
    ["serve", ...started.split(" ")],
    compose.services.first.command,
    compose.services.second.command,
    sidecar.args.map((arg: string) => arg.replace("$(POD_NAME)", "nightly-7d9c-x2")),
  ];
  for (const [command, ...args] of commandLines) {
    assert.equal(command, "serve");
    assert.deepEqual(parseCommandLine(serveCommand, args).groups, ["nightly"]);
  }
  assert.equal(sidecar.readinessProbe.httpGet.path, "/leaderz");
  assert.equal(sidecar.ports[0].containerPort, 4040);
  assert.deepEqual(service.spec.selector, deployment.spec.template.metadata.labels);
  const { scrape_configs: [{ static_configs: [{ targets }] }] } = parse(await read("docker/prometheus.yml"));
  assert.deepEqual(targets, ["first:4040", "second:4040"]);
  assert.match(await read("docker/Dockerfile"), /^ENTRYPOINT \["elect"\]$/m);
});

Deno.test("the unit is one that systemd takes, and gives its process few rights", async () => {
  const program = await toolsOr(systemdAnalyze);
  if (program === null) return;
  const root = await Deno.makeTempDir({ prefix: "elect-unit-" });
  try {
    const unit = await read("systemd/elect-serve.service");
    const [, command = ""] = /^ExecStart=(\S+)/m.exec(unit) ?? [];
    const path = `${root}/etc/systemd/system/elect-serve.service`;
    for (const directory of ["etc/systemd/system", "usr/lib/systemd/system", "usr/local/bin"]) {
      await Deno.mkdir(`${root}/${directory}`, { recursive: true });
    }
    await Deno.writeTextFile(`${root}${command}`, "#!/bin/sh\n", { mode: 0o755 });
    const analyze = async (text: string, ...args: string[]) => {
      await Deno.writeTextFile(path, text);
      const { code, stderr } = await new Deno.Command(program, { args }).output();
      return [code, new TextDecoder().decode(stderr)] as const;
    };
    const verify = ["verify", `--root=${root}`, "--recursive-errors=no", "--man=no", "elect-serve.service"];
    assert.deepEqual(await analyze(unit, ...verify), [0, ""]);
    const [code, said] = await analyze(unit.replace("RestartSec=", "RestartSecs="), ...verify);
    assert.ok(code !== 0 && /RestartSecs/.test(said), "this test must see what it is about");
    // Out of 100, where 100 is everything.
    const [exposed, why] = await analyze(unit, "security", "--offline=yes", "--threshold=20", path);
    assert.equal(exposed, 0, why);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
});

Deno.test("the Compose file is one that Compose takes", async () => {
  const program = await toolsOr(dockerCompose);
  if (program === null) return;
  const config = async (text: string) => {
    const directory = await Deno.makeTempDir({ prefix: "elect-compose-" });
    try {
      await Deno.writeTextFile(`${directory}/compose.yml`, text);
      const args = ["--file", `${directory}/compose.yml`, "config"];
      const { success, stdout, stderr } = await new Deno.Command(program, { args }).output();
      return success ? parse(new TextDecoder().decode(stdout)) : new TextDecoder().decode(stderr);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  };
  const text = await read("docker/compose.yml");
  const { services } = await config(text);
  assert.deepEqual(Object.keys(services).sort(), ["first", "prometheus", "redis", "second"]);
  for (const name of ["first", "second"]) {
    assert.equal(services[name].environment.ELECT_PROVIDER, "redis://redis");
    assert.equal(services[name].depends_on.redis.condition, "service_healthy");
  }
  for (const mount of services.prometheus.volumes) {
    const [source = ""] = String(mount.source ?? mount).split(":");
    const path = source.slice(source.lastIndexOf("/") + 1);
    assert.ok(text.includes(`/${path}:`), source);
  }
  assert.equal(typeof await config(text.replace("healthcheck:", "healthchek:")), "string", "this test must see it");
  for (const [, path = ""] of text.matchAll(/- (\.\S+?):/g)) await Deno.stat(new URL(`docker/${path}`, deploy));
});

Deno.test("the Dockerfile is one that Docker takes, of the release of Deno that the project is tested with", async () => {
  const text = await read("docker/Dockerfile");
  assert.deepEqual(validate(text, { instructionCasing: 2, instructionJSONInSingleQuotes: 2 }), []);
  assert.notDeepEqual(validate(text.replace("USER", "USR")), [], "this test must see what it is about");
  const [, tested] = /deno@(\d+\.\d+\.\d+) task test/.exec(await Deno.readTextFile(new URL("../README.md", deploy))) ??
    [];
  assert.ok(tested !== undefined && text.includes(`FROM denoland/deno:alpine-${tested}\n`), `not ${tested}`);
});
