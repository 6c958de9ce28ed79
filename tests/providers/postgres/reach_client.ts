/** A program that tells, of each URL, how it reaches the server. For `network_deno_test.ts`; not a test itself. */

import process from "node:process";
import { postgresProvider } from "../../../providers/postgres.ts";

for (const url of process.argv.slice(2)) {
  const provider = postgresProvider({ url, table: "tls" });
  const request = { participantId: "p", termId: "t", heartbeatTimeout: 60_000, metadata: {} };
  try {
    const { signal } = new AbortController();
    await provider.acquire({ ...request, electionGroup: "g" }, { signal });
    const hints = provider.watch?.("g", { signal })[Symbol.asyncIterator]();
    await hints?.next();
    console.log("reached");
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    console.log(
      /certificate|self.?signed|altname|issuer|not valid for|IP address/i.test(why) ? "refused" : "failed",
      why,
    );
  }
  await provider[Symbol.asyncDispose]();
}
