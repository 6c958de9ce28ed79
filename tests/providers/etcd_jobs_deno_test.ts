/** Jobs on several hosts, by leases in etcd. */

import { jobCases } from "../jobs/cases.ts";
import { backend } from "../servers/backend.ts";

const server = backend("etcd");

if (server !== null) { for (const { name, run } of jobCases("etcd", server.url, false)) Deno.test(name, run); }
