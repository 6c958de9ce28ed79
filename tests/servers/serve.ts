/**
 * Starts the server of one backend and leaves it running until Ctrl-C, for working on one provider:
 *
 *     deno run -A tests/servers/serve.ts redis
 *
 * prints the variables with which `deno test`, `bun test` and `node --test` find it.
 */

import process from "node:process";
import { addressesIn } from "../permissions.ts";
import { controlVariable, detourVariable, urlVariable } from "./backend.ts";
import { kindOf } from "./kinds.ts";
import { serveControl } from "./control.ts";

const name = process.argv[2] ?? "";
const kind = await kindOf(name);
await kind.install();
const server = await kind.start();
const control = await serveControl(server, addressesIn(server.url)[0] ?? "");
console.log(`export ${urlVariable(name)}='${server.url}'`);
console.log(`export ${controlVariable(name)}='${control.url}'`);
console.log(`export ${detourVariable(name)}='${control.detour}'`);

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, async () => {
    await control.close();
    await server.stop();
    process.exit(0);
  });
}
