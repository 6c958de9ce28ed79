/** Names and metadata at their limits, and with characters that mean something to somebody. */

import assert from "node:assert/strict";
import { ProviderError } from "../../src/errors.ts";
import type { AcquireRequest, Lease } from "../../src/provider.ts";
import { checkLeader, lose, onStage, soon, type Stage, win, winSoon } from "./stage.ts";
import type { ConformanceCase, ConformanceTarget } from "./target.ts";

/** Returns the cases about values. */
export function valueCases(target: ConformanceTarget): ConformanceCase[] {
  return [
    onStage(target, "names may be as long as allowed, and look like paths, options or properties", oddNames),
    onStage(target, "metadata comes back as it was, with quotes, unicode, SQL and Lua in it", oddMetadata),
    onStage(target, "metadata may be as large as allowed, or is refused and leaves no lease", largeMetadata),
    onStage(
      target,
      "metadata of a renewal may be as large as allowed, or is refused and costs no term",
      refusedMetadata,
    ),
  ];
}

async function oddNames(stage: Stage): Promise<void> {
  const other = await stage.open();
  const long = stage.group().padEnd(254, "x");
  // Two long names that differ at the end only: nobody may cut them short.
  const names = [
    `${long}1`,
    `${long}2`,
    ".",
    "..",
    "-",
    "--help",
    "_",
    "0",
    "1e3",
    "NUL",
    "null",
    "constructor",
    "__proto__",
  ];
  const leases: Lease[] = [];
  // All are held at the same time, so that none can pass for another.
  for (const electionGroup of names) {
    const participantId = electionGroup === "." ? ".." : electionGroup;
    const heartbeatTimeout = Math.max(stage.short, 20_000);
    const request = stage.request(electionGroup, { participantId, heartbeatTimeout });
    // Some of these names are the same in every run: an earlier one may have left a lease.
    leases.push(await winSoon(stage, stage.first, request, heartbeatTimeout * 2));
  }
  for (const lease of leases) {
    checkLeader(await other.read(lease.electionGroup, soon()), lease, {});
    checkLeader(await lose(other, stage.request(lease.electionGroup)), lease, {});
  }
  for (const lease of leases) assert.equal(await stage.first.release(lease, soon()), "released");
}

async function oddMetadata(stage: Stage): Promise<void> {
  const other = await stage.open();
  for (const metadata of [ODD, { a: "" }, {}]) {
    const request: AcquireRequest = stage.request(stage.group(), { metadata });
    const lease = await win(stage.first, request);
    checkLeader(await other.read(lease.electionGroup, soon()), lease, metadata);
    checkLeader(await lose(other, stage.request(lease.electionGroup)), lease, metadata);
    assert.equal(await stage.first.renew(lease, { ...soon(), metadata: { before: "after" } }), "renewed");
    assert.equal(await stage.first.renew(lease, { ...soon(), metadata }), "renewed");
    checkLeader(await other.read(lease.electionGroup, soon()), lease, metadata);
    assert.equal(await stage.first.release(lease, soon()), "released");
  }
}

/** By `fromEntries`, since in a literal `__proto__` is not a key. */
const ODD: Readonly<Record<string, string>> = Object.fromEntries([
  ["__proto__", "toString"],
  ["constructor", "hasOwnProperty"],
  ["quotes", `'"\`\\'\\"''""`],
  ["sql", `'); DROP TABLE leases; --`],
  ["sql with dollars", "$$ $1 $tag$ %s %% ?"],
  ["lua", `]] redis.call("FLUSHALL") --[[`],
  ["json", `{"a":[null,"}"]}`],
  ["xml", "<a b='c'>&amp;]]></a>"],
  ["lines", "a\nb\r\nc\td\u2028e\u0085f"],
  ["control", "\u0000\u0001\u001b[31m\u007f"],
  [
    "unicode",
    "gr\u00fc\u00df gru\u0308\u00df \u65e5\u672c\u8a9e \u05e9\u05dc\u05d5\u05dd " +
    "\ud83d\ude80\ud83d\udc69\u200d\ud83d\udcbb",
  ],
  ["half a character", "\ud83d"],
  ["\ud83d\ude80 key with 'quotes' \"and\" = ; :", "value"],
  ["number", "007"],
  ["boolean", "false"],
  ["space", "  leading and trailing  "],
  ["empty", ""],
]);

/** The most that an election accepts, in bytes of JSON in UTF-8. */
const MOST_METADATA_BYTES = 65_536;

/**
 * Metadata near the limits of the core: long values of wide characters, and as many bytes as allowed, with wide keys
 * too.
 */
function largeOnes(): Readonly<Record<string, string>>[] {
  const wide = { wide: "\u65e5".repeat(4_000), astral: "\ud83d\ude80".repeat(2_000) };
  const full: Record<string, string> = {};
  for (let i = 0; bytesOf(full) < MOST_METADATA_BYTES - 8_000; i++) {
    full[`\u65e5\ud83d\ude80${i}`.padEnd(255, "k")] = "\u00fc\u65e5".repeat(500);
  }
  full.rest = "";
  full.rest = "r".repeat(Math.min(4_000, MOST_METADATA_BYTES - bytesOf(full)));
  full.more = "";
  full.more = "m".repeat(MOST_METADATA_BYTES - bytesOf(full));
  assert.equal(bytesOf(full), MOST_METADATA_BYTES);
  return [wide, full];
}

function bytesOf(metadata: Readonly<Record<string, string>>): number {
  return new TextEncoder().encode(JSON.stringify(metadata)).length;
}

async function largeMetadata(stage: Stage): Promise<void> {
  const other = await stage.open();
  for (const metadata of largeOnes()) {
    const request = stage.request(stage.group(), { metadata });
    if (bytesOf(metadata) > (stage.target.maxMetadataBytes ?? Infinity)) {
      await refuses("acquire()", stage.first.acquire(request, soon()));
      assert.equal(await stage.first.read(request.electionGroup, soon()), null, "what was refused must leave no lease");
      // Nor may it stand in the way of those who ask for less.
      await win(other, stage.request(request.electionGroup));
      continue;
    }
    const lease = await win(stage.first, request);
    checkLeader(await other.read(lease.electionGroup, soon()), lease, metadata);
    checkLeader(await lose(other, stage.request(lease.electionGroup, { metadata })), lease, metadata);
    assert.equal(await stage.first.renew(lease, soon()), "renewed");
    assert.equal(await stage.first.renew(lease, { ...soon(), metadata }), "renewed");
    checkLeader(await other.read(lease.electionGroup, soon()), lease, metadata);
    assert.equal(await stage.first.release(lease, soon()), "released");
  }
}

/**
 * A renewal must never depend on what it carries: metadata that is too large costs neither its term nor another one.
 */
async function refusedMetadata(stage: Stage): Promise<void> {
  const other = await stage.open();
  const bystander = await win(stage.first, stage.request(stage.group(), { metadata: { by: "stander" } }));
  for (const metadata of largeOnes()) {
    const small = { state: "before" };
    const lease = await win(stage.first, stage.request(stage.group(), { metadata: small }));
    const fits = bytesOf(metadata) <= (stage.target.maxMetadataBytes ?? Infinity);
    if (fits) assert.equal(await stage.first.renew(lease, { ...soon(), metadata }), "renewed");
    else await refuses("renew()", stage.first.renew(lease, { ...soon(), metadata }));
    assert.equal(
      await stage.first.renew(lease, soon()),
      "renewed",
      "a renewal without metadata must succeed after one with",
    );
    checkLeader(await other.read(lease.electionGroup, soon()), lease, fits ? metadata : small);
    assert.equal(await stage.first.renew(lease, { ...soon(), metadata: { state: "after" } }), "renewed");
    checkLeader(await other.read(lease.electionGroup, soon()), lease, { state: "after" });
    assert.equal(await stage.first.renew(bystander, soon()), "renewed", "another term of the client must not notice");
    assert.equal(await stage.first.release(lease, soon()), "released");
  }
  checkLeader(await other.read(bystander.electionGroup, soon()), bystander, { by: "stander" });
}

async function refuses(what: string, call: Promise<unknown>): Promise<void> {
  await assert.rejects(call, (error) => {
    assert.ok(
      error instanceof ProviderError,
      `${what} must refuse too much metadata with a ProviderError, not ${error}`,
    );
    assert.match(error.message, /metadata/i, `${what} must say that it is the metadata`);
    return true;
  });
}
