/** What MySQL refuses for good ends the start of an election, instead of being waited for. */

import { test } from "node:test";
import "../../../providers/mysql.ts";
import { backend } from "../../servers/backend.ts";
import { refusedToAll, SECRET } from "../refused.ts";

const server = backend("mysql");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  const at = (change: (url: URL) => void) => {
    const changed = new URL(url);
    change(changed);
    return changed;
  };

  test("elect() rejects, when MySQL refuses user, password or database", async () => {
    await refusedToAll(at((url) => url.password = SECRET), /Access denied/);
    await refusedToAll(at((url) => (url.username = "nobody", url.password = SECRET)), /Access denied/);
    await refusedToAll(at((url) => url.pathname = "/no_such_database"), /no_such_database/);
  });

  test("elect() rejects, when the table is missing and not to be made", async () => {
    const missing = at((
      { searchParams },
    ) => (searchParams.set("table", "missing"), searchParams.set("autoCreate", "false")));
    await refusedToAll(missing, /missing/);
  });

  test("elect() rejects, when a file of TLS cannot be read", async () => {
    const target = at(({ searchParams }) => {
      searchParams.set("ca", "/does/not/exist.pem");
      searchParams.set("servername", "db.test");
    });
    await refusedToAll(target, /setting "ca"/);
  });
}
