/** Tests that kill and hold up a server of their own. */

import type { ServerKind, TestServer } from "../servers/server.ts";

/** Runs `work` with a server of its own, if it can be had here, and with the providers that `make` makes. */
export function testWithServer<P extends { close(): Promise<void> }>(
  kind: ServerKind,
  make: () => P,
  name: string,
  work: (server: TestServer, providers: P, t: Deno.TestContext) => Promise<void>,
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
      const providers = make();
      try {
        await work(server, providers, t);
      } finally {
        await providers.close();
        await server.stop();
      }
    },
  });
}
