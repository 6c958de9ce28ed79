/** Jobs on several hosts, by leases in PostgreSQL. */

import { jobCases } from "../../jobs/cases.ts";
import { backend } from "../../servers/backend.ts";

const server = backend("postgres");

if (server !== null) { for (const { name, run } of jobCases("postgres", server.url, true)) Deno.test(name, run); }
