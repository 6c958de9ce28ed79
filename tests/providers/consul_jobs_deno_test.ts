/** Jobs on several hosts, by leases in Consul. */

import { jobCases } from "../jobs/cases.ts";
import { backend } from "../servers/backend.ts";

const server = backend("consul");

if (server !== null) { for (const { name, run } of jobCases("consul", server.url, false)) Deno.test(name, run); }
