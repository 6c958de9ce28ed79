/** What a URL of MySQL may say, and what an error of its server means. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { explain, isAboutRows, isBeaten, isFit, isLocked, isNoTable } from "../../../providers/mysql/failures.ts";
import { buildStatements } from "../../../providers/mysql/statements.ts";
import { parseTarget, readTls } from "../../../providers/mysql/target.ts";
import { providerError } from "../../../src/call.ts";

test("parseTarget() takes a URL apart", () => {
  assert.deepEqual(
    parseTarget(
      "mysql://s%40:p%2Fw%3A@db.example.com:3307/my%20app?schema=a&table=t%60&autoCreate=false&poolSize=2" +
        "&statementTimeout=700&connectTimeout=30s&sslMode=verify-ca&ca=/a.pem&cert=/c.pem&key=/k.pem&servername=n",
    ),
    {
      target: {
        ...{ host: "db.example.com", port: 3307, socketPath: undefined, user: "s@", password: "p/w:" },
        ...{ database: "my app", sslMode: "VERIFY_CA" },
        tls: { ca: "/a.pem", cert: "/c.pem", key: "/k.pem", servername: "n" },
      },
      parameters: { schema: "a", table: "t`", autoCreate: false, poolSize: 2, statementTimeout: 700 },
      connectTimeout: 30_000,
    },
  );
  const { target, parameters } = parseTarget("MariaDB://[::1]");
  assert.deepEqual(
    [target.host, target.port, target.user, target.password, target.database, target.sslMode, parameters],
    ["::1", 3306, undefined, undefined, undefined, "DISABLED", {}],
  );
  assert.equal(parseTarget("mysql:///d").target.host, "localhost");
  assert.equal(parseTarget("mysql:///d?socketPath=/run/mysqld/s").target.socketPath, "/run/mysqld/s");
  assert.equal(parseTarget("mysql://u:@h/d").target.password, "");
});

test("parseTarget() knows how to encrypt", () => {
  const mode = (query: string, host = "h") => parseTarget(`mysql://${host}/d?${query}`).target.sslMode;
  assert.equal(mode(""), "DISABLED");
  assert.equal(mode("ssl-mode=REQUIRED"), "REQUIRED");
  assert.equal(mode("sslMode=verify_identity"), "VERIFY_IDENTITY");
  assert.equal(mode("ca=/a.pem"), "VERIFY_IDENTITY", "who names a certificate wants it verified");
  assert.equal(mode("servername=n", "127.0.0.1"), "VERIFY_IDENTITY");
});

test("readTls() verifies as much as the mode says", async () => {
  const tls = (query: string) => readTls(parseTarget(`mysql://h/d?${query}`).target);
  assert.equal(await tls(""), undefined);
  assert.deepEqual(await tls("sslMode=REQUIRED"), { rejectUnauthorized: false, verifyIdentity: false });
  assert.deepEqual(await tls("sslMode=VERIFY_IDENTITY"), { rejectUnauthorized: true, verifyIdentity: true });
  await assert.rejects(tls("ca=/not/there.pem"), /cannot read the file of setting "ca"/);
  await assert.rejects(tls("cert=/c.pem"), /cert and key must be given together/);
});

/** What cannot be used, and why. */
const UNUSABLE: readonly (readonly [string, RegExp])[] = [
  ["mysql://me:secret@h/d?shema=s", /did you mean "schema"/],
  ["mysql://me:secret@h/d?table=a&table=b", /given twice/],
  ["mysql://me:secret@h/d?sslMode=REQUIRED&ssl-mode=DISABLED", /given twice/],
  ["mysql://me:secret@h/d?autoCreate=maybe", /true or false/],
  ["mysql://me:secret@h/d?connectTimeout=soon", /connectTimeout/],
  ["mysql://me:secret@h/d?sslMode=preferred", /PREFERRED cannot be had/],
  ["mysql://me:secret@h/d?sslMode=DISABLED&ca=/x", /need encryption/],
  ["mysql://me:secret@h/d?sslMode=VERIFY_CA", /needs ca/],
  ["mysql://me:secret@127.0.0.1/d?sslMode=VERIFY_IDENTITY", /say servername/],
  ["mysql://me:secret@[::1]/d?ca=/x", /say servername/],
  ["mysql://me:secret@h1,h2/d", /several hosts cannot be had/],
  ["mysql://me:secret@h:x/d", /host or port/],
  ["mysql://me:secret@h:99999/d", /from 1 to 65535/],
  ["mysql://me:secret@h:0/d", /from 1 to 65535/],
  ["mysql://me:secret@h/d/e", /more than one name/],
  ["mysql://me:12?secret@h/d", /write @ as %40/],
  ["mysql://me:12/secret@h/d", /write @ as %40/],
  ["mysql://me:12#secret@h/d", /write @ as %40/],
  ["mysql://me:x@1/secret@h/d", /write @ as %40/],
  ["mysql://me:%secret@h/d", /begins no escape/],
  ["mysql:me:secret@h", /another beginning/],
  ["postgres://me:secret@h/d", /another beginning/],
];

test("parseTarget() refuses what it cannot use, in words and without credentials", () => {
  for (const [bad, why] of UNUSABLE) {
    assert.throws(() => parseTarget(bad), (error) => {
      assert.ok(error instanceof TypeError || error instanceof RangeError);
      assert.match(error.message, why, bad);
      assert.doesNotMatch(`${error.message}${error.stack}`, /secret/);
      return true;
    }, bad);
  }
});

const numbered = (errno: number, more: object = {}) => Object.assign(new Error(`error ${errno}`), { errno, ...more });

test("explain() says what an error means for leases, and which will not mend by itself", () => {
  const statements = buildStatements("s", "t");
  for (
    const [error, words, isPermanent] of [
      [numbered(1045), /^error 1045$/, true],
      [numbered(1049), /^error 1049$/, true],
      [numbered(1142), /needs SELECT, INSERT and UPDATE on `s`.`t`, which is made by: CREATE TABLE/, true],
      [numbered(1044), /may not use the database/, true],
      [numbered(1046), /no database is named/, true],
      [numbered(1054), /not as this version needs it/, true],
      [Object.assign(new Error("no TLS"), { code: "HANDSHAKE_NO_SSL_SUPPORT" }), /^no TLS$/, true],
      [Object.assign(new Error("bad altnames"), { code: "HANDSHAKE_SSL_ERROR" }), /altnames/, true],
      [Object.assign(new Error("read ECONNRESET"), { code: "HANDSHAKE_SSL_ERROR" }), /ECONNRESET/, false],
      [numbered(1146), /`s`.`t` does not exist. It is made by/, true],
      [numbered(1205), /another session has locked/, false],
      [numbered(1290), /read-only: a replica/, false],
      [numbered(1792), /read-only: a replica/, false],
      [numbered(1836), /read-only: a replica/, false],
      [numbered(1568), /left in a transaction/, false],
      [numbered(1690), /autocommit is off/, false],
      [numbered(1064), /needs multipleStatements/, false],
      [numbered(1040), /^error 1040$/, false],
      [numbered(-111, { code: "ECONNREFUSED" }), /^error -111$/, false],
    ] as const
  ) {
    const { message, permanent } = providerError("mysql", "acquire", "g", explain(error, statements));
    assert.match(message.replace(/^Cannot .*? "g": /, ""), words);
    assert.equal(permanent, isPermanent, message);
  }
});

test("an error tells whether its connection is fit, and whether rows were locked, lost or refused", () => {
  for (const errno of [1205, 1213, 1146, 1142, 1062]) assert.ok(isFit(numbered(errno)), `${errno}`);
  for (const errno of [1290, 1792, 1836, 1568, 1690, 1047, 1053, 1927, 1317]) assert.ok(!isFit(numbered(errno)));
  assert.ok(!isFit(numbered(1205, { fatal: true })));
  for (const error of [new Error("lost"), numbered(-104), "text", undefined]) assert.ok(!isFit(error));
  assert.ok(isLocked(numbered(1205)) && !isLocked(numbered(1213)));
  for (const errno of [1020, 1213, 3101]) assert.ok(isBeaten(numbered(errno)) && isAboutRows(numbered(errno)));
  for (const errno of [1062, 1406, 4025, 3819, 1644]) assert.ok(isAboutRows(numbered(errno)));
  assert.ok(!isAboutRows(numbered(1205)) && !isBeaten(numbered(1205)));
  assert.ok(isNoTable(numbered(1146)) && isNoTable(numbered(1049, { sql: "SELECT 1" })));
  assert.ok(!isNoTable(numbered(1049)), "a login that misses the database of the URL, which nobody makes");
});
