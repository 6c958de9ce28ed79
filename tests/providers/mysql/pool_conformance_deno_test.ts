/** The MySQL provider over a pool of the user's. */

import { after, test } from "node:test";
import mysql from "mysql2/promise";
import { mysqlProvider } from "../../../providers/mysql.ts";
import { conformanceCases } from "../../../testing/conformance.ts";
import { backend } from "../../servers/backend.ts";
import { plain } from "./support.ts";

const server = backend("mysql");
if (server !== null) {
  // Several providers share it, each of the suite's clients being one.
  const pool = mysql.createPool({ uri: plain(server.url), multipleStatements: true, connectionLimit: 20 });
  after(() => pool.end());
  const open = () => mysqlProvider({ pool, table: "pool_conformance" });
  for (const { name, run } of conformanceCases({ name: "mysql", open, faults: {} })) test(`by a pool: ${name}`, run);
}
