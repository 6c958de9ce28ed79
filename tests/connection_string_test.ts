/** Connection strings: taken apart by the rules of ADO.NET, and never printed with what is secret in them. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { foldKeyword, parseConnectionString } from "../src/connection_string.ts";
import { redact } from "../src/redact.ts";

const pairs = (text: string) => parseConnectionString(text).map(({ keyword, value }) => [keyword, value]);

test("parseConnectionString() takes blanks, quotes and doubled quotes off", () => {
  assert.deepEqual(pairs("Server = h ; ;Password = S3cret;"), [["Server", "h"], ["Password", "S3cret"]]);
  assert.deepEqual(pairs(`Password="a;b""c'd" ; User Id='it''s "me"'`), [
    ["Password", `a;b"c'd`],
    ["User Id", `it's "me"`],
  ]);
  assert.deepEqual(pairs(`Password=a"b'c d = e ;x=`), [["Password", `a"b'c d = e`], ["x", ""]]);
  assert.deepEqual(pairs(`Password="  ";a==b=c;q=" '"`), [["Password", "  "], ["a=b", "c"], ["q", " '"]]);
  assert.deepEqual(pairs("Password={a;b=}c"), [["Password", "{a"], ["b", "}c"]], "braces mean nothing");
  assert.deepEqual(pairs(" ;; "), []);
});

test("parseConnectionString() throws and tells nothing, when a string is none", () => {
  for (const bad of ["hunter2", "Server=h;hunter2", `Password="hunter2`, `Password="hunter2"hunter2;a=b`, "=hunter2"]) {
    assert.throws(() => parseConnectionString(bad), (error) => {
      assert.ok(error instanceof TypeError);
      assert.doesNotMatch(error.message, /hunter2/);
      return true;
    });
  }
});

test("foldKeyword() makes spellings of one keyword alike", () => {
  for (const spelling of ["User ID", "userid", "USER_ID", "user-id"]) assert.equal(foldKeyword(spelling), "userid");
});

/** Ways to write a password in a connection string, rightly and wrongly. */
const WRITTEN = [
  ...["hunter2", " hunter2 ", '"hunter2"', "'hunter2'", '"a;hunter2"', "'a;hunter2'", '"a""hunter2"', "'a''hunter2'"],
  ...["a hunter2", "a&hunter2", "a#hunter2", 'a"hunter2', "a'hunter2", "a=hunter2", "a,hunter2", "a\thunter2"],
  ...['"a"";Server=h;hunter2"', '"hunter2', "'a;b=c;hunter2", '"a" hunter2', "a;hunter2", "a; b ;hunter2"],
  ...["{hunter2}", "{a;hunter2}", "{a}}hunter2}", "{a}hunter2", "{a;b=c;hunter2", "a\nhunter2", "***hunter2"],
];

test("redact() hides a password in a connection string, however it is written", () => {
  for (const keyword of ["Password", "PWD", "pwd ", "PASSWORD\t", "AccountKey", "Client Secret", "Access Token"]) {
    for (const password of WRITTEN) {
      for (
        const text of [
          `Server = h;Database=d;${keyword}=${password}`,
          `${keyword} = ${password};Server=h`,
          `Server=h; ${keyword}= ${password} ;Database=d`,
        ]
      ) {
        for (const message of [text, `Cannot open provider "${text}": why`, redact(text)]) {
          const redacted = redact(message);
          assert.doesNotMatch(redacted, /hunter2/, message);
          assert.match(redacted, /= *\*\*\*/, message);
          assert.equal(redact(redacted), redacted, `twice is as good as once: ${message}`);
        }
      }
    }
  }
});

test("redact() leaves the rest, when the rest is told apart from the password", () => {
  assert.equal(redact(`Server = h;Password="a;b";Database=d`), "Server = h;Password=***;Database=d");
  assert.equal(redact("Server = h; Password = S3cret"), "Server = h; Password = ***");
  assert.equal(redact(`Cannot open "${redact("Server=h;Pwd=x y")}": why`), 'Cannot open "Server=h;Pwd=***": why');
  assert.equal(redact("mssql://h/d?password=a;b&encrypt=no"), "mssql://h/d?password=***&encrypt=no");
  assert.equal(
    redact("jdbc:sqlserver://h:1;user=u;password=a&b;encrypt=no"),
    "jdbc:sqlserver://h:1;user=u;password=***;encrypt=no",
  );
  assert.equal(redact("host=h password='a b' user=u"), "host=h password=*** user=u");
});
