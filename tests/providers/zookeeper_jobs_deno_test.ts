/** Jobs on several hosts, by leases in ZooKeeper. */

import { jobCases } from "../jobs/cases.ts";
import { backend } from "../servers/backend.ts";

const server = backend("zookeeper");

if (server !== null) { for (const { name, run } of jobCases("zookeeper", server.url, false)) Deno.test(name, run); }
