/**
 * The errors of targets whose provider is not registered, in a process of its own: elsewhere other tests may have
 * registered it. Run by `registry_test.ts`.
 */

import assert from "node:assert/strict";
import { openProvider } from "../mod.ts";

await assert.rejects(openProvider("consul://u:hunter2@host"), (error: Error) => {
  assert.ok(error instanceof TypeError);
  assert.match(error.message, /import "jsr:@multilock\/core\/consul"/);
  assert.doesNotMatch(error.message, /hunter2/);
  return true;
});
await assert.rejects(openProvider("Server=db;Password=hunter2"), /core\/sqlserver/);
await assert.rejects(openProvider("AccountName=a;AccountKey=hunter2"), /core\/azure-blob/);
await assert.rejects(openProvider("https://acc.blob.core.windows.net/locks?sig=hunter2"), /core\/azure-blob/);
await assert.rejects(openProvider("http://127.0.0.1:10000/devstoreaccount1/locks"), /core\/azure-blob/);
for (const url of ["https://example.com/x", "http://localhost:8500"]) {
  await assert.rejects(openProvider(url), (error: Error) => !/azure/.test(error.message), url);
}
await assert.rejects(openProvider("gopher://x"), /known are .*memory: /);
await assert.rejects(openProvider(""), TypeError);

const cures = {
  "localhost:6379": 'did you mean "redis://localhost:6379"?',
  "localhost:2181": 'did you mean "zookeeper://localhost:2181"?',
  "http://localhost:8500": 'did you mean "consul://localhost:8500"?',
  "[::1]:5432": 'did you mean "postgres://[::1]:5432"?',
  "postgre://h/d": 'did you mean "postgres:"?',
  "redis+sentinal://h/m": 'did you mean "redis+sentinel:"?',
  "/var/lib/leases": 'did you mean "file:/var/lib/leases"?',
  "./leases": 'did you mean "file:./leases"?',
  "redis//h": 'did you mean "redis://h"?',
  "postgres//u:secret@h/d": 'did you mean "postgres://u:***@h/d"?',
  "Host=h;Database=d": 'add: import "jsr:@multilock/core/postgres"',
  "Address=127.0.0.1,1433;Database=app": 'add: import "jsr:@multilock/core/sqlserver"',
  "Server = h;Database=d": 'add: import "jsr:@multilock/core/sqlserver"',
};
for (const [target, cure] of Object.entries(cures)) {
  await assert.rejects(openProvider(target), (error: Error) => error.message.endsWith(cure), target);
}
