/** Jobs on several hosts, by leases in Redis. */

import { jobCases } from "../../jobs/cases.ts";
import { backend } from "../../servers/backend.ts";

const server = backend("redis");

if (server !== null) { for (const { name, run } of jobCases("redis", server.url, true)) Deno.test(name, run); }
