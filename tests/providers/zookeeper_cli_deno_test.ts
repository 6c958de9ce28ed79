/** The command line over ZooKeeper, across processes, with a restart of the server in between. */

import { zookeeperServer } from "../servers/zookeeper.ts";
import { testElectRun } from "./elect_run.ts";

testElectRun("ZooKeeper", zookeeperServer);
