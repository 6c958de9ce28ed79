/** The PostgreSQL provider while the wall clock of its server is stepped. */

import { postgresServer, startStepped } from "../../servers/postgres.ts";
import { clockCases } from "../clock_cases.ts";
import { Providers } from "./support.ts";

clockCases(async () => {
  await postgresServer.install();
  return await startStepped();
}, () => new Providers());
