/** The lease register of Azure Blob Storage, under concurrent clients and a server that freezes. */

import { test } from "node:test";
import { azureBlobProvider } from "../../providers/azure_blob.ts";
import { checkRegister } from "../linearizability_run.ts";
import { backend } from "../servers/backend.ts";

const server = backend("azure-blob");
if (server !== null) {
  const { url } = server;
  // Not killed: Azurite answers writes up to five seconds before they are on disk, unlike what it stands in for.
  const { kill: _kill, restart: _restart, ...faults } = server.faults;
  test("the lease register of azure-blob is linearizable, when its server freezes", async () => {
    await checkRegister({
      name: "azure-blob",
      open: () => azureBlobProvider({ url }),
      faults,
      heartbeatTimeout: 15_000,
      durationMs: 36_000,
      paceMs: 250,
      // Azure renews an expired lease, as long as nobody has taken it.
      expiry: "revocable",
      freezesMs: [1_000, 3_000],
    });
  });
}
