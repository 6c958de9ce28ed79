/** SQL Server for the tests: by Docker alone, or the user's own. */

import type { ServerKind } from "./server.ts";

/** It has no program that the tests could install. */
export const sqlserverServer: ServerKind = {
  name: "sqlserver",
  compose: {
    url: "sqlserver://sa:Elect-Secret-1@localhost:51433/master?trustServerCertificate=true",
    image: "mcr.microsoft.com/mssql/server:2022-latest",
    port: 1433,
    environment: { ACCEPT_EULA: "Y", MSSQL_PID: "Developer", MSSQL_SA_PASSWORD: "Elect-Secret-1" },
    healthCheck: [
      ...["sh", "-c"],
      `/opt/mssql-tools18/bin/sqlcmd -C -S localhost -U sa -P "$MSSQL_SA_PASSWORD" -Q 'SELECT 1' -b`,
    ],
    patience: 120,
  },
  install: () => Promise.reject(new Error("it has no local server")),
  start: () => Promise.reject(new Error("it has no local server")),
};
