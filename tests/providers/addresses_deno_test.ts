/**
 * A host name with several addresses, for a Deno that may connect to the name, and to some of them or to none. In a
 * namespace with a hosts file of its own, which takes root on Linux.
 */

import assert from "node:assert/strict";
import { BACKENDS, PERMISSIONS } from "../permissions.ts";

/** How each provider is told where its server is. */
const URLS: Readonly<Record<string, string>> = {
  redis: "redis://many:PORT",
  postgres: "postgres://user:secret@many:PORT/app",
  mysql: "mysql://user:secret@many:PORT/app",
  sqlserver: "sqlserver://user:secret@many:PORT/app",
  consul: "consul://many:PORT",
  zookeeper: "zookeeper://many:PORT/elections",
  etcd: "etcd://many:PORT",
  kubernetes: "k8s+http://many:PORT/elections",
  "azure-blob": "BlobEndpoint=http://many:PORT/account;AccountName=account;AccountKey=YWJj;Container=elections",
};

const SCRIPT = `
import { openProvider } from ${JSON.stringify(import.meta.resolve("../../mod.ts"))};
import ${JSON.stringify("MODULE")};
const provider = await openProvider(Deno.args[0]);
// Whoever answers is no server of this kind.
await provider.healthCheck({ signal: AbortSignal.timeout(3_000) }).catch((error) => console.log(error.message));
await provider[Symbol.asyncDispose]();
console.log("alive");
`;

const SHELL = 'mount --bind "$1/hosts" /etc/hosts && shift && exec "$@"';

const canIsolate = Deno.build.os === "linux" && Deno.uid() === 0 &&
  await new Deno.Command("unshare", { args: ["-m", "true"], stdout: "null", stderr: "null" }).output()
    .then(({ success }) => success, () => false);

/** Listens at `hostname`, hangs up on everybody, and counts them. */
function listen(hostname: string) {
  const listener = Deno.listen({ hostname, port: 0 });
  const seen = { connections: 0, port: listener.addr.port, close: () => listener.close() };
  (async () => {
    for await (const connection of listener) {
      seen.connections++;
      connection.close();
    }
  })().catch(() => {});
  return seen;
}

/** Runs the script under the provider's own permissions, with PORT at `hosts`; returns what it printed. */
async function run(name: string, port: number, hosts: readonly string[], addresses: readonly string[]) {
  const directory = await Deno.makeTempDir({ prefix: "elect-addresses-" });
  try {
    const module = import.meta.resolve(`../../providers/${name.replace("-", "_")}.ts`);
    await Deno.writeTextFile(`${directory}/main.ts`, SCRIPT.replace("MODULE", module));
    const lines = addresses.map((address) => `${address} many\n`);
    await Deno.writeTextFile(`${directory}/hosts`, `127.0.0.1 localhost\n${lines.join("")}`);
    const permitted = hosts.map((host) => `${host}:${port}`).join(",");
    const flags = (PERMISSIONS[name] ?? []).map((flag) => flag.replace("HOST:PORT", permitted))
      .filter((flag) => !flag.includes("FILES"));
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const url = (URLS[name] ?? "").replace("PORT", String(port));
    const deno = ["run", "--no-prompt", "--no-check", ...flags, `--config=${config}`, `${directory}/main.ts`, url];
    const args = ["-m", "sh", "-c", SHELL, "sh", directory, Deno.execPath(), ...deno];
    const { stdout, stderr } = await new Deno.Command("unshare", { args, env: { NO_COLOR: "1" } }).output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("every provider with a server is tried with a name of several addresses", () => {
  assert.deepEqual(Object.keys(URLS).sort(), [...BACKENDS].sort());
});

for (const name of Object.keys(URLS)) {
  Deno.test({
    name: `${name}: an address that is not permitted ends nothing, and one that is permitted is reached`,
    ignore: !canIsolate,
    async fn() {
      const there = listen("127.0.0.1");
      try {
        // Runtimes and resolvers differ in the order: each comes first once.
        for (const addresses of [["127.0.0.9", "127.0.0.1"], ["127.0.0.1", "127.0.0.9"]]) {
          const forName = await run(name, there.port, ["many"], addresses);
          assert.match(forName, /^alive$/m, forName);
          assert.doesNotMatch(forName, /Uncaught/);
          there.connections = 0;
          const forOne = await run(name, there.port, ["many", "127.0.0.1"], addresses);
          assert.match(forOne, /^alive$/m, forOne);
          assert.doesNotMatch(forOne, /Uncaught/);
          assert.ok(there.connections > 0, forOne);
        }
      } finally {
        there.close();
      }
    },
  });
  Deno.test({
    name: `${name}: a name that alone is permitted is reached at its address of either family`,
    ignore: !canIsolate,
    async fn() {
      const there = listen("127.0.0.1");
      try {
        const output = await run(name, there.port, ["many"], ["::1", "127.0.0.1"]);
        assert.match(output, /^alive$/m, output);
        assert.ok(there.connections > 0, output);
      } finally {
        there.close();
      }
    },
  });
}
