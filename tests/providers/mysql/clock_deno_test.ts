/** The MySQL provider while the wall clock of its server is stepped. */

import { mysqlServer, startMariadb } from "../../servers/mysql.ts";
import { withSteppedClock } from "../../servers/stepped_clock.ts";
import { clockCases } from "../clock_cases.ts";
import { Providers } from "./support.ts";

clockCases(async () => {
  await mysqlServer.install();
  return await withSteppedClock((env) => startMariadb({ env }));
}, () => new Providers());
