/** The command line over MySQL, across processes, with a restart of the server in between. */

import { mysqlServer } from "../servers/mysql.ts";
import { testElectRun } from "./elect_run.ts";

testElectRun("MySQL", mysqlServer);
