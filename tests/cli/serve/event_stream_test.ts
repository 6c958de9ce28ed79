/** The streams of events, and who may ask for what. */

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { isAuthorised, mayName, readToken } from "../../../cli/serve/access.ts";
import { EventStream } from "../../../cli/serve/event_stream.ts";

test("a reader that does not read is dropped when a quarter of a MiB waits for it, and costs the others nothing", async () => {
  const events = new EventStream();
  let dropped = 0;
  events.open(undefined, () => [{}], () => dropped++);
  const reads = events.open(undefined, () => [{}], () => assert.fail("it reads"));
  let received = 0;
  const reading = (async () => {
    for await (const bytes of reads) received += bytes.length;
  })();
  for (let sent = 0; sent < 100; sent++) {
    events.publish("change", { text: "x".repeat(10_000) });
    await new Promise((resolve) => setTimeout(resolve));
  }
  assert.deepEqual([dropped, events.dropped, events.readers], [1, 1, 1]);
  events.close();
  await reading;
  assert.ok(received > 1_000_000);
});

test("who resumes gets what is kept, and a reset when that is not all", async () => {
  const events = new EventStream();
  for (let sent = 0; sent < 1_005; sent++) events.publish("change", { sent });
  events.publish("change", { sent: "last" });
  const textOf = async (id: string | undefined) => {
    const reader = events.open(id, () => [{}], () => {}).getReader();
    let text = "";
    while (!text.includes("event: state")) text += new TextDecoder().decode((await reader.read()).value);
    await reader.cancel();
    return text;
  };
  const [, origin = ""] = /^id: (.*)-\d+$/m.exec(await textOf(undefined)) ?? [];
  assert.match(
    await textOf(`${origin}-1005`),
    /^id: .*-1006\nevent: change\ndata: {"sent":"last"}\n\nid: .*\nevent: state/,
  );
  assert.match(await textOf(`${origin}-1006`), /^id: .*\nevent: state/);
  for (const id of [`${origin}-3`, `${origin}-2000`, "ffffffff-1006", "nonsense", ""]) {
    assert.match(await textOf(id), /^event: reset\n/, id);
  }
  assert.equal(events.readers, 0);
  events.close();
});

test("what is kept for those who resume is bounded in bytes, too", async () => {
  const events = new EventStream();
  const [size, count] = [100_000, 60];
  for (let sent = 1; sent <= count; sent++) events.publish("change", { sent, text: "x".repeat(size) });
  const [, origin = ""] = /^id: (.*)-\d+$/m.exec(await firstOf(events, undefined)) ?? [];
  assert.match(await firstOf(events, `${origin}-0`), /^event: reset\n/);
  assert.match(
    await firstOf(events, `${origin}-${count - 30}`),
    new RegExp(`^id: ${origin}-${count - 29}\nevent: change`),
  );
  events.close();
});

/** The first piece of what a reader gets. */
async function firstOf(events: EventStream, id: string | undefined): Promise<string> {
  const reader = events.open(id, () => [{}], () => {}).getReader();
  const { value } = await reader.read();
  await reader.cancel();
  return new TextDecoder().decode(value);
}

test("mayName() takes addresses and names that are allowed, with any port, and nothing else", () => {
  const names = new Set(["localhost", "elect.internal"]);
  for (const host of ["localhost", "LOCALHOST:4040", "127.0.0.1:1", "10.1.2.3", "[::1]:4040", "elect.internal"]) {
    assert.ok(mayName(host, names), host);
  }
  const refused = [
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "[evil]",
    "",
    undefined,
    "a b",
    "a.b.c.1",
  ];
  for (const host of refused) assert.ok(!mayName(host, names), String(host));
});

test("isAuthorised() takes the token as a bearer's, and nothing else", () => {
  assert.ok(isAuthorised("Bearer secret-of-ours", "secret-of-ours"));
  for (const given of [undefined, "", "secret-of-ours", "Basic secret-of-ours", "Bearer secret-of-our", "Bearer "]) {
    assert.ok(!isAuthorised(given, "secret-of-ours"), String(given));
  }
  // Times cannot be asserted; the comparison that takes the same for each can.
  assert.match(String(isAuthorised), /timingSafeEqual\(digest\(given\), digest\(token\)\)/);
});

test("readToken() takes a token of 16 characters from its file, and tells nobody one that it refuses", () => {
  const directory = mkdtempSync(join(tmpdir(), "elect-token-"));
  try {
    const path = join(directory, "token");
    const read = (text: string) => {
      writeFileSync(path, text);
      return readToken(path);
    };
    assert.equal(read("sixteen-letters!\n"), "sixteen-letters!");
    for (const text of ["fifteen-letters", "a token of many characters", "", "\n"]) {
      assert.throws(() => read(text), (error: Error) => {
        assert.match(
          error.message,
          /Cannot use the token in ".*token": it must have at least 16 characters, and no spaces/,
        );
        return text.trim() === "" || !error.message.includes(text);
      });
    }
    assert.throws(() => readToken(join(directory, "none")), /Cannot read --token-file ".*none": /);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
