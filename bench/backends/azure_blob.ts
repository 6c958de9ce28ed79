/** Azure Blob Storage beside the bare driver: one blob's lease taken, refused, renewed and given back. */

import { azureBlobProvider } from "../../providers/azure_blob.ts";
import { openContainer } from "../../providers/azure_blob/client.ts";
import { parseAzureTarget } from "../../providers/azure_blob/target.ts";
import type { BenchBackend } from "../backend.ts";

/** Opens the provider, and the driver with the same settings for the bare calls. */
export async function open(url: string): Promise<BenchBackend> {
  const provider = azureBlobProvider({ url });
  const { container, close } = await openContainer(parseAzureTarget(url));
  const options = { abortSignal: new AbortController().signal };
  await container.createIfNotExists(options);
  const blob = container.getBlockBlobClient(`bench-bare-${crypto.randomUUID()}`);
  await blob.upload("", 0, { ...options, conditions: {}, metadata: {} });
  const [mine, other] = [crypto.randomUUID(), crypto.randomUUID()].map((id) => blob.getBlobLeaseClient(id));
  return {
    provider,
    bare: {
      acquireWon: () => Promise.resolve(mine?.acquireLease(60, options)),
      acquireLost: () => Promise.resolve(other?.acquireLease(60, options)).catch(() => {}),
      heartbeat: () => Promise.resolve(mine?.renewLease(options)),
      release: () => Promise.resolve(mine?.releaseLease(options)),
    },
    heartbeatTimeout: 60_000,
    async close() {
      await provider[Symbol.asyncDispose]();
      close();
    },
  };
}
