/**
 * A process that contends for a lock of a peer, in the words of `../contender.ts`:
 *
 *     deno run -A bench/peers/contender.ts PEER URL KEY
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { sleep, systemClock } from "../../src/time/clock.ts";
import { openPeer } from "./all.ts";

const [name = "", url = "", key = ""] = process.argv.slice(2);
const peer = await openPeer(name, url, key);
const now = () => performance.timeOrigin + performance.now();
let isHeld = false;

void campaign();
console.log("ready");
for await (const line of createInterface({ input: process.stdin })) {
  const [, cooldownMs] = /^hand over (\d+)$/.exec(line) ?? [];
  if (cooldownMs === undefined || !isHeld) continue;
  isHeld = false;
  const releasing = now();
  console.log(`released ${releasing}`);
  await peer.release();
  console.log(`free ${now()} ${releasing}`);
  void sleep(systemClock, Number(cooldownMs)).then(campaign);
}
// Who waits for a lock without an end cannot be told to stop.
await Promise.race([peer.close(), sleep(systemClock, 2_000)]);
process.exit(0);

async function campaign(): Promise<void> {
  await peer.acquire();
  isHeld = true;
  console.log(`leads ${now()}`);
}
