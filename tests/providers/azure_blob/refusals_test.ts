/** What Azure refuses for good ends the start of an election, instead of being waited for. */

import { test } from "node:test";
import { azureBlobProvider } from "../../../providers/azure_blob.ts";
import { openContainer } from "../../../providers/azure_blob/client.ts";
import { parseAzureTarget } from "../../../providers/azure_blob/target.ts";
import { backend } from "../../servers/backend.ts";
import { refusedToAll, SECRET } from "../refused.ts";

const server = backend("azure-blob");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  test("elect() rejects, when Azure refuses key, signature or account", async () => {
    await using guessed = azureBlobProvider({ url, accountKey: btoa(SECRET) });
    await refusedToAll(guessed, /Auth/);
    await using signed = azureBlobProvider({ url: `${url}?sv=2024-11-04&sr=c&sp=rwl&sig=${btoa(SECRET)}` });
    await refusedToAll(signed, /Auth/);
    const elsewhere = url.replace("devstoreaccount1", "devstoreaccount2");
    await using unknown = azureBlobProvider({ url: elsewhere, accountKey: btoa(SECRET) });
    await refusedToAll(unknown, /ResourceNotFound|Auth/);
  });

  test("elect() rejects, when the blob of the group holds something else", async () => {
    const electionGroup = crypto.randomUUID();
    await using provider = azureBlobProvider({ url });
    await provider.healthCheck({ signal: AbortSignal.timeout(20_000) });
    const { container, close } = await openContainer(parseAzureTarget(url));
    const blob = container.getBlockBlobClient(`${electionGroup}.lease`);
    await blob.upload("precious", 8, { conditions: {}, metadata: {}, abortSignal: AbortSignal.timeout(20_000) });
    close();
    await refusedToAll(provider, /holds something that is no lease/, { electionGroup });
  });
}
