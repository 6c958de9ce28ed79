/** Fences that need no server: SQLite in a file, and memory behind HTTP. */

import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { fencedHandler, memoryFence } from "../../fencing/mod.ts";
import { fenceCases } from "./cases.ts";

const directory = await mkdtemp(join(tmpdir(), "elect-fencing-"));

/** Returns a handler that keeps what it is sent: under `/bare/` past the guard, which `/lost` makes forget. */
function resource(): (request: Request) => Promise<Response> {
  const values = new Map<string, string>();
  const name = (request: Request) => new URL(request.url).pathname.split("/").slice(2).join("/");
  const handle = async (request: Request) => {
    if (request.method === "GET") return new Response(values.get(name(request)) ?? "");
    const value = await request.text();
    if (value !== "") values.set(name(request), value);
    return new Response("kept");
  };
  const guard = () =>
    fencedHandler(memoryFence(), handle, { resource: (request) => decodeURIComponent(name(request)) });
  let guarded = guard();
  return async (request) => {
    const [, how] = new URL(request.url).pathname.split("/");
    if (how === "lost") guarded = guard();
    return how === "lost" ? new Response("lost") : await (how === "guarded" ? guarded(request) : handle(request));
  };
}

const handler = resource();
const server = createServer(async (incoming, outgoing) => {
  const chunks: Uint8Array[] = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const { method = "GET", url = "/", headers } = incoming;
  const response = await handler(
    new Request(`http://${headers.host}${url}`, {
      method,
      headers: headers as Record<string, string>,
      ...(method === "PUT" && { body: Buffer.concat(chunks) }),
    }),
  );
  outgoing.writeHead(response.status, Object.fromEntries(response.headers));
  outgoing.end(await response.text());
});
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const { port } = server.address() as AddressInfo;

after(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  await rm(directory, { recursive: true, force: true });
});

const targets = [
  { kind: "http", url: `http://127.0.0.1:${port}`, hasTable: false },
  { kind: "sqlite", url: join(directory, "fenced.db"), hasTable: true },
];

// The fence takes Bun's own SQLite, too; the tests' store is over that of Node.
for (const target of targets.filter(({ kind }) => kind !== "sqlite" || !("bun" in process.versions))) {
  for (const { name, run } of fenceCases(target)) test(name, run);
}
