/** A process that leads `g` for a minute from its start, and says so. */

import process from "node:process";
import { sqliteProvider } from "../../../providers/sqlite.ts";
import { request, win } from "../asking.ts";

const [path = ""] = process.argv.slice(2);
await win(sqliteProvider({ path }), request("g", { heartbeatTimeout: 60_000 }));
process.stdout.write("leads\n");
setInterval(() => {}, 60_000);
