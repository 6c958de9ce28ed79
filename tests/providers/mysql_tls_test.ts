/** The MySQL provider by TLS, against a real server. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { ProviderError } from "../../src/errors.ts";
import { makeAuthority } from "../servers/authority.ts";
import { backend } from "../servers/backend.ts";
import { startMariadb } from "../servers/mysql.ts";
import { removeDirectory, temporaryDirectory } from "../servers/process.ts";
import { acquire, lead, newTable, Providers, soon, sql } from "./mysql/support.ts";

// It is MariaDB also where the others run against MySQL: what is tested is the driver.
if (backend("mysql") !== null) {
  const directory = await temporaryDirectory("mysql-tls");
  const { ca, server: own, client } = await makeAuthority(directory, "DNS:localhost,DNS:db.test");
  const server = await startMariadb({ args: [`--ssl-ca=${ca}`, `--ssl-cert=${own.cert}`, `--ssl-key=${own.key}`] });
  const providers = new Providers();
  after(async () => {
    await providers.close();
    await server.stop();
    await removeDirectory(directory);
  });
  const urlOf = (settings: Readonly<Record<string, string>>, host = "localhost") =>
    `${server.url.replace("127.0.0.1", host)}?${new URLSearchParams({ table: newTable(), ...settings })}`;
  const open = (settings: Readonly<Record<string, string>>, host?: string) =>
    providers.open({ url: urlOf(settings, host) });
  await sql(
    server.url,
    `CREATE USER encrypted@'%' IDENTIFIED BY 'x' REQUIRE SSL; CREATE USER certified@'%' REQUIRE X509;
GRANT ALL ON elect.* TO encrypted@'%'; GRANT ALL ON elect.* TO certified@'%'`,
  );
  const as = (user: string, url: string) => url.replace("elect:elect-secret@", user);

  test("mysql: elects by TLS, with the authority and the client certificate of its URL", async () => {
    const provider = providers.open({ url: as("certified@", urlOf({ ca, ...client })) });
    const lease = await lead(provider, "g", { metadata: { long: "x".repeat(30_000) } });
    assert.equal(await provider.renew(lease, soon()), "renewed");
    assert.equal((await provider.read("g", soon()))?.metadata.long?.length, 30_000);
    assert.equal(await provider.release(lease, soon()), "released");
    const without = providers.open({ url: as("certified@", urlOf({ ca })) });
    await assert.rejects(acquire(without, "g"), (error) => error instanceof ProviderError && error.permanent);
  });

  test("mysql: encrypts only where it is told to", async () => {
    const user = "encrypted:x@";
    await lead(providers.open({ url: as(user, urlOf({ sslMode: "REQUIRED" }, "127.0.0.1")) }), "g");
    const plain = providers.open({ url: as(user, urlOf({})) });
    await assert.rejects(acquire(plain, "g"), (error) => error instanceof ProviderError && error.permanent);
  });

  test("mysql: takes the server for who its certificate names, or `servername` where that is given", async () => {
    await lead(open({ ca, servername: "db.test" }, "127.0.0.1"), "g");
    await lead(open({ ca, sslMode: "VERIFY_CA", servername: "other.test" }), "g");
    for (
      const settings of [{ ca, servername: "other.test" }, { sslMode: "VERIFY_IDENTITY" }, { ca: client.cert }]
    ) {
      await assert.rejects(acquire(open(settings), "g"), (error) => {
        assert.ok(error instanceof ProviderError && error.permanent, String(error));
        assert.match(error.message, /certificate|altnames|ALTNAME|issuer|self.signed/i);
        return true;
      }, JSON.stringify(settings));
    }
    await assert.rejects(acquire(open({ ca: `${ca}.missing` }), "g"), /cannot read the file of setting "ca"/);
  });
}
