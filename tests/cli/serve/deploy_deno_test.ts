/** What is there to take away: it names what `elect serve` has, and tools of its own kind accept it. */

import assert from "node:assert/strict";
import { parse, parseAllDocuments } from "yaml";
import { parse as parseCommandLine } from "../../../cli/args.ts";
import { serveCommand } from "../../../cli/commands/serve.ts";
import { promtool } from "../../servers/promtool.ts";
import { eventually, temporary } from "../elect.ts";
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
