/** The fence in Azure Blob Storage, with real processes. */

import { test } from "node:test";
import { fenceCases } from "../fencing/cases.ts";
import { backend } from "../servers/backend.ts";

const server = backend("azure-blob");

if (server !== null) {
  for (const { name, run } of fenceCases({ kind: "azure-blob", url: server.url, hasTable: false })) test(name, run);
}
