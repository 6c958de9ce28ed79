/** Jobs on several hosts, by leases in MySQL. */

import { jobCases } from "../jobs/cases.ts";
import { backend } from "../servers/backend.ts";

const server = backend("mysql");

if (server !== null) { for (const { name, run } of jobCases("mysql", server.url, false)) Deno.test(name, run); }
