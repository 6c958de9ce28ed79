// deno-lint-ignore-file camelcase -- columns are named as the server names them
/**
 * SQL Server from the command line: what it prints of targets and of servers that do not answer, and what Deno must
 * allow.
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { elect } from "../cli/elect.ts";
import { PERMISSIONS } from "../permissions.ts";
import { startTdsServer } from "./sqlserver/tds_server.ts";

const options = { sanitizeOps: false, sanitizeResources: false };
const row = {
  participant_id: "somebody",
  term_id: "t",
  token: 1n,
  acquired_at: 0n,
  heartbeat_at: 0n,
  version: 1n,
  lease_ms: 60_000n,
  server_now: 0n,
  metadata: "{}",
  expires_in: 60_000n,
};

Deno.test("elect names the backend and the host, when the server is frozen", options, async () => {
  const server = await startTdsServer(Array.from({ length: 50 }, () => "hang" as const), { deaf: true });
  const target = `Address = 127.0.0.1,${server.port}; Encrypt = no; User = me; Password = hunter2`;
  try {
    await Promise.all([["check"], ["leader", "g"], ["groups"], ["evict", "g", "--yes"]].map(async (command) => {
      const { code, stdout, stderr } = await elect([...command, "--provider", target]);
      const output = `${stdout}${stderr}`;
      assert.ok(output.includes(`127.0.0.1:${server.port}`) && /sqlserver/i.test(output), `${command}: ${output}`);
      assert.match(output, /no answer|failed to complete/i);
      assert.doesNotMatch(output, /hunter2/);
      assert.equal(code, 69, `${command}: ${output}`);
    }));
  } finally {
    server.close();
  }
});

/** The password is `hunter2`, among others. */
const TARGETS = [
  "Server = 127.0.0.1,1; Password = hunter2",
  `Server=127.0.0.1,1;Password="a;""hunter2"`,
  "Data Source=127.0.0.1,1;Pwd = a hunter2 ;Encrypt=no",
  "Address=127.0.0.1,1;PWD='it''s hunter2'",
  'Server=127.0.0.1,1;Password="hunter2',
  "Server=127.0.0.1,1;Password=x;hunter2",
  "Server=127.0.0.1,1;Password=hunter2;Nonsense=1",
  "Serfer=127.0.0.1,1;Password = hunter2",
  "mssql://me:12/hunter2@127.0.0.1:1/d",
  "mssql://me:hunter2@127.0.0.1:1/d?nonsense=1",
];

Deno.test("elect prints no password of a connection string, whatever is wrong with it", options, async () => {
  const runs = TARGETS.flatMap((target, i) =>
    [["check"], ...(i < 3 ? [["check", "--json"]] : [])].map((command) => ({ target, command }))
  );
  // A few at a time: each is a process.
  await Promise.all(Array.from({ length: 3 }, async () => {
    for (let run = runs.shift(); run !== undefined; run = runs.shift()) {
      const { code, stdout, stderr } = await elect([...run.command, "--provider", run.target]);
      assert.notEqual(code, 0);
      assert.doesNotMatch(`${stdout}${stderr}`, /hunter2/, run.target);
      assert.match(`${stdout}${stderr}`, /127\.0\.0\.1/, "what it is about must be told");
    }
  }));
});

Deno.test("the permissions of the README are enough, when the server is named by its host name", options, async () => {
  const server = await startTdsServer([row]);
  try {
    const flags = (PERMISSIONS["sqlserver"] ?? []).map((flag) => flag.replace("HOST:PORT", `localhost:${server.port}`));
    const script = fileURLToPath(new URL("sqlserver/read_once.ts", import.meta.url));
    const url = `sqlserver://me:secret@localhost:${server.port}/d?encrypt=false`;
    const args = ["run", "--no-prompt", "--no-check", ...flags, script, url];
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
    const said = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
    assert.match(said, /led by somebody/);
  } finally {
    server.close();
  }
});
