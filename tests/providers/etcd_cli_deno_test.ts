/** The command line over etcd, across processes, with a restart of the server in between. */

import { etcdServer } from "../servers/etcd.ts";
import { testElectRun } from "./elect_run.ts";

testElectRun("etcd", etcdServer);
