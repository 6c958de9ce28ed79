/**
 * A host name with several addresses, some of them dead: in a network and with a hosts file of their own, which takes
 * root on Linux.
 */

import assert from "node:assert/strict";

/** What runs in there: a server on the one live address, and the provider's transport to the name. */
const SCRIPT = `
import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { openTransport } from ${JSON.stringify(import.meta.resolve("../../providers/consul/transport.ts"))};
const server = createServer((_, response) => response.end("alive"));
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
// The same port, where something accepts and never answers.
const frozen = createTcpServer(() => {});
await new Promise((resolve) => frozen.listen(server.address().port, "127.0.0.7", resolve));
const transport = openTransport(null);
const url = "http://many:" + server.address().port + "/";
const ask = (ms) => transport.fetch(url, { method: "GET", headers: {}, signal: AbortSignal.timeout(ms) });
// One that accepts and never answers costs one request.
if (Deno.args[0] === "frozen") await ask(500).catch(() => {});
for (let i = 0; i < 2; i++) console.log(await (await ask(4_000)).text());
transport.close();
Deno.exit(0);
`;

const SHELL = `
set -e
ip link set lo up
ip tuntap add dev t0 mode tun && ip addr add 10.9.0.1/24 dev t0 && ip link set t0 up
printf '127.0.0.1 localhost\\n' > "$1/hosts"
for each in $2; do printf '%s many\\n' "$each" >> "$1/hosts"; done
mount --bind "$1/hosts" /etc/hosts
shift 2
exec "$@"
`;

const isRoot = Deno.build.os === "linux" && Deno.uid() === 0;
const canIsolate = isRoot && await new Deno.Command("unshare", {
  args: ["-m", "-n", "ip", "tuntap", "add", "dev", "t0", "mode", "tun"],
  stdout: "null",
  stderr: "null",
}).output().then(({ success }) => success, () => false);

/** 127.0.0.9 refuses, 10.9.0.x swallows everything. Runtimes differ in the order, so that each comes first once. */
const HOSTS: readonly [string, string][] = [
  ["refuse, one first", "127.0.0.9 127.0.0.1"],
  ["refuse, one last", "127.0.0.1 127.0.0.9"],
  ["refuse, on both sides", "127.0.0.9 127.0.0.1 127.0.0.8"],
  ["are silent, one first", "10.9.0.2 127.0.0.1"],
  ["are silent, one last", "127.0.0.1 10.9.0.2"],
  ["are silent, on both sides", "10.9.0.2 127.0.0.1 10.9.0.3"],
  ["are of another family", "::1 127.0.0.1"],
  ["accept and never answer, one first", "127.0.0.7 127.0.0.1"],
  ["accept and never answer, one last", "127.0.0.1 127.0.0.7"],
];
for (const [what, addresses] of HOSTS) {
  Deno.test({
    name: `Consul is reached by a name some of whose addresses ${what}`,
    ignore: !canIsolate,
    async fn() {
      const directory = await Deno.makeTempDir({ prefix: "elect-addresses-" });
      const script = `${directory}/main.ts`;
      await Deno.writeTextFile(script, SCRIPT);
      const config = new URL("../../deno.json", import.meta.url).pathname;
      const deno = [
        Deno.execPath(),
        "run",
        "-A",
        "--no-check",
        `--config=${config}`,
        script,
        what.startsWith("accept") ? "frozen" : "",
      ];
      const args = ["-m", "-n", "sh", "-c", SHELL, "sh", directory, addresses, ...deno];
      const { stdout, stderr } = await new Deno.Command("unshare", { args }).output();
      assert.equal(new TextDecoder().decode(stdout), "alive\nalive\n", new TextDecoder().decode(stderr));
      await Deno.remove(directory, { recursive: true });
    },
  });
}
