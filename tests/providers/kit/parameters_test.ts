import assert from "node:assert/strict";
import { test } from "node:test";
import { checkOptions, type ParameterKind, readParameters } from "../../../providers/kit/parameters.ts";
import { nearest } from "../../../src/spelling.ts";

const KINDS = { prefix: "text", listen: "flag", poolSize: "count", statementTimeout: "duration" } as const;

function read(query: string) {
  return readParameters<Readonly<Record<string, ParameterKind>>>("pg", new URLSearchParams(query), KINDS, ["sslmode"]);
}

test("readParameters() reads each by its kind, and leaves the driver's alone", () => {
  assert.deepEqual(read("prefix=a%2Fb&listen=false&poolSize=3&statementTimeout=1.5s&sslmode=require"), {
    prefix: "a/b",
    listen: false,
    poolSize: 3,
    statementTimeout: 1_500,
  });
  assert.deepEqual(read("statementTimeout=250"), { statementTimeout: 250 });
  assert.deepEqual(read(""), {});
});

test("readParameters() refuses what is unknown, and names the nearest", () => {
  assert.throws(() => read("prefx=x"), /pg setting "prefx".*did you mean "prefix"/);
  assert.throws(() => read("PREFIX=x"), /did you mean "prefix"/);
  // Two neighbours that have changed places are one change.
  assert.equal(nearest("tabel", ["schema", "table"]), "table");
  assert.throws(() => read("sslmod=x"), /did you mean "sslmode"/);
  assert.throws(() => read("entirelyElse=x"), /known are listen, poolSize, prefix, sslmode, statementTimeout/);
});

test("readParameters() refuses what is not of its kind, or given twice", () => {
  for (
    const query of [
      "listen=yes",
      "poolSize=-1",
      "poolSize=1.5",
      "poolSize=",
      "statementTimeout=soon",
      "prefix=a&prefix=b",
    ]
  ) {
    assert.throws(() => read(query), /Cannot use/, query);
  }
});

test("checkOptions() refuses what is unknown, and what is no object of options", () => {
  const given = checkOptions("redis", { url: "redis://h", prefix: undefined }, ["url", "prefix"]);
  assert.deepEqual(Object.keys(given), ["url"], "what is undefined is not given");
  assert.throws(() => checkOptions("redis", { prefx: undefined }, ["url", "prefix"]), /did you mean "prefix"/);
  for (const wrong of ["redis://h", new URL("redis://h"), null, 7, ["redis://h"]]) {
    assert.throws(() => checkOptions("redis", wrong as object, ["url"]), /its options must be an object/);
  }
});

test("nearest() names what few changes lead to, and nothing else", () => {
  assert.equal(nearest("hearbeatTimeout", ["heartbeatTimeout", "heartbeatInterval"]), "heartbeatTimeout");
  assert.equal(nearest("a", ["heartbeatTimeout"]), undefined);
  assert.equal(nearest("", ["x"]), "x");
});
