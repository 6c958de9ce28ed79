/** The command lines of docs/jobs.md, run as they stand there: each but for its provider and its command. */

import assert from "node:assert/strict";
import { elect, temporary } from "./elect.ts";

const text = await Deno.readTextFile(new URL("../../docs/jobs.md", import.meta.url));
/** Every line that is a command, or has one after the fields of a crontab or a unit, and what runs in it. */
const lines = [...text.matchAll(/\belect (run [^`\n]*?) -- ([^`\n]+)/g)]
  .map(([, options = "", command = ""]) => ({ options: options.split(" "), command: command.trim() }))
  .filter(({ options, command }) => !/TIME|\u2026/.test(options.join(" ")) && command !== "COMMAND");

Deno.test("docs/jobs.md has a command line for each way to start a job", () => {
  assert.deepEqual(lines.map(({ command }) => command), [
    ...["./report", "/usr/local/bin/report", "/usr/local/bin/report", "./migrate", "./mailer"],
  ]);
});

for (const [i, { options, command }] of lines.entries()) {
  Deno.test(`docs/jobs.md: elect ${options.join(" ")} -- ${command} (${i}) runs, and once on two hosts`, async () => {
    await using place = await temporary();
    const env = { ELECT_PROVIDER: place.url };
    // What it says of times is for real hosts.
    const args = options.map((word, at) => options[at - 1] === "--at-least" ? "8s" : word);
    const job = ["--", "sh", "-c", "echo ran $ELECT_TOKEN"];
    const hosts = await Promise.all([elect([...args, ...job], { env }), elect([...args, ...job], { env })]);
    const ran = hosts.filter(({ stdout }) => /^ran \d+\n$/.test(stdout)).length;
    // One that waits runs in its turn.
    assert.equal(ran, args.includes("--no-wait") ? 1 : 2, JSON.stringify(hosts));
    const codes = hosts.map(({ code }) => code).sort();
    const gaveUp = args.includes("--no-wait") && !args.includes("--conflict-exit-code") ? 1 : 0;
    assert.deepEqual(codes, [0, gaveUp]);
  });
}
