/** Tests that kill and hold up a server of their own. */

import type { ServerKind, TestServer } from "../servers/server.ts";

/** Runs `work` with a server of its own, if it can be had here. */
export function testOnServer(
  kind: ServerKind,
  name: string,
  work: (server: TestServer, t: Deno.TestContext) => Promise<void>,
): void {
  Deno.test({
    name,
    sanitizeOps: false,
    sanitizeResources: false,
    async fn(t) {
      try {
        await kind.install();
      } catch (error) {
        console.error(`SKIPPED: ${name}: ${error}`);
        return;
      }
      const server = await kind.start();
      try {
        await work(server, t);
      } finally {
        await server.stop();
      }
    },
  });
}

/** As {@linkcode testOnServer}, with the providers that `make` makes, which are closed first. */
export function testWithServer<P extends { close(): Promise<void> }>(
  kind: ServerKind,
  make: () => P,
  name: string,
  work: (server: TestServer, providers: P, t: Deno.TestContext) => Promise<void>,
): void {
  testOnServer(kind, name, async (server, t) => {
    const providers = make();
    try {
      await work(server, providers, t);
    } finally {
      await providers.close();
    }
  });
}
