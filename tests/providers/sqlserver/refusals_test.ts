/** What SQL Server refuses for good ends the start of an election, instead of being waited for. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { sqlserverProvider } from "../../../providers/sqlserver.ts";
import { elect } from "../../../src/elect.ts";
import { refused, refusedToAll, SECRET } from "../refused.ts";
import { startTdsServer } from "./tds_server.ts";

const at = (port: number) => `sqlserver://me:${SECRET}@127.0.0.1:${port}/d?encrypt=false`;

/** What SQL Server says to a login that it refuses. */
const LOGINS: readonly (readonly [number: number, words: string])[] = [
  [18456, "Login failed for user 'me'."],
  [18456, "Login failed for user 'me'. Reason: The account is disabled."],
  [18452, "Login failed. The login is from an untrusted domain and cannot be used with Integrated authentication."],
  [4060, 'Cannot open database "d" requested by the login. The login failed.'],
];

for (const [number, words] of LOGINS) {
  test(`elect() rejects, when SQL Server refuses the login: ${words}`, async () => {
    const server = await startTdsServer([], { refusal: [number, words] });
    try {
      await refusedToAll(at(server.port), /Login failed|Cannot open database/);
    } finally {
      server.close();
    }
  });
}

test("elect() waits, when SQL Server lets nobody in for a while", async () => {
  const words = "Login failed for user 'me'. Reason: Server is in script upgrade mode. Only administrator can connect.";
  const server = await startTdsServer([], { refusal: [18401, words] });
  try {
    const election = await elect(at(server.port), { electionGroup: "g", logger: null });
    assert.match(String(election.status.lastError?.error), /script upgrade mode/);
    await election.stop();
  } finally {
    server.close();
  }
});

/** Error numbers of SQL Server, and what is said of them. */
const REFUSALS: readonly (readonly [number: number, says: RegExp])[] = [
  [916, /916/], // The user may not enter the database.
  [229, /the user needs SELECT, INSERT and UPDATE/],
  [207, /is not one of this version/],
];

for (const [number, says] of REFUSALS) {
  test(`elect() rejects, when SQL Server answers with error ${number}`, async () => {
    const server = await startTdsServer(Array.from({ length: 20 }, () => number));
    try {
      await refusedToAll(at(server.port), says);
    } finally {
      server.close();
    }
  });
}

test("elect() rejects, when the table is missing and may not be made", async () => {
  // 208: it is missing; 262: it may not be made.
  const server = await startTdsServer(Array.from({ length: 40 }, (_, i) => i % 2 === 0 ? 208 : 262));
  try {
    await using provider = sqlserverProvider({ url: `sqlserver://me:x@127.0.0.1:${server.port}/d?encrypt=false` });
    await refused(provider, /does not exist and the user may not create it/);
    await using fixed = sqlserverProvider({
      url: `sqlserver://me:x@127.0.0.1:${server.port}/d?encrypt=false&autoCreate=false`,
    });
    await refused(fixed, /does not exist/);
  } finally {
    server.close();
  }
});

test("elect() rejects, when a file of TLS cannot be read", async () => {
  await refusedToAll("sqlserver://me:x@127.0.0.1:1/d?ca=/does/not/exist.pem", /setting "ca"/);
});
