/** Jobs on several hosts, by leases in Azure Blob Storage. */

import { jobCases } from "../jobs/cases.ts";
import { backend } from "../servers/backend.ts";

const server = backend("azure-blob");

if (server !== null) { for (const { name, run } of jobCases("azure-blob", server.url, false)) Deno.test(name, run); }
