/** Jobs on several hosts, by leases in Kubernetes. */

import { jobCases } from "../jobs/cases.ts";
import { backend } from "../servers/backend.ts";

const server = backend("kubernetes");

if (server !== null) { for (const { name, run } of jobCases("kubernetes", server.url, false)) Deno.test(name, run); }
