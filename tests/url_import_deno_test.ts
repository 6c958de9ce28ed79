/**
 * The package by URL, without an import map: `import "http://HOST/providers/redis.ts"` must register a provider that
 * connects.
 */

import assert from "node:assert/strict";

const ROOT = new URL("../", import.meta.url);
/** A target of each provider at which nobody listens: the driver must be loaded to find that out. */
const TARGETS: Readonly<Record<string, string>> = {
  postgres: "postgres://u:p@127.0.0.1:1/d",
  sqlserver: "sqlserver://u:p@127.0.0.1:1/d?trustServerCertificate=true",
  redis: "redis://127.0.0.1:1",
  "azure-blob": "http://127.0.0.1:1/devstoreaccount1/elections",
  consul: "consul://127.0.0.1:1",
  zookeeper: "zookeeper://127.0.0.1:1",
  etcd: "etcd://127.0.0.1:1",
};

Deno.test("each provider connects, and memory elects, when imported by URL without an import map", async () => {
  const directory = await Deno.makeTempDir({ prefix: "elect-url-" });
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    const text = await Deno.readTextFile(new URL(`.${pathname}`, ROOT)).catch(() => null);
    return text === null
      ? new Response(null, { status: 404 })
      : new Response(text, { headers: { "content-type": "application/typescript" } });
  });
  try {
    const base = `http://127.0.0.1:${server.addr.port}`;
    const imports = Object.keys(TARGETS).map((name) => `import "${base}/providers/${name.replaceAll("-", "_")}.ts";`)
      .join("\n");
    await Deno.writeTextFile(
      `${directory}/main.ts`,
      `import { elect, openProvider } from "${base}/mod.ts";
${imports}
await using election = await elect("memory:", { electionGroup: "g" });
console.log("memory", election.isLeader);
for (const [name, target] of Object.entries(${JSON.stringify(TARGETS)})) {
  await using provider = await openProvider(target);
  const why = await provider.read("g", { signal: AbortSignal.timeout(20_000) }).then(() => "answered", String);
  console.log(name, why);
}
`,
    );
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-all", "--no-config", "--no-check", "--no-lock", `${directory}/main.ts`],
      cwd: directory,
      env: { NO_COLOR: "1" },
    }).output();
    const output = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.match(output, /^memory true$/m);
    for (const name of Object.keys(TARGETS)) {
      // Whatever else it says, it got as far as the network.
      assert.match(output, new RegExp(`^${name} .*(refused|ECONNREFUSED|connect|ConnectionRefused)`, "mi"), output);
      assert.doesNotMatch(output, /not installed|not a dependency/);
    }
  } finally {
    await server.shutdown();
    await Deno.remove(directory, { recursive: true });
  }
});
