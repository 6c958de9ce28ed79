/** The command under `elect run` in the chaos runs: says over and over that it runs, and does items of work. */

import { connect } from "node:net";
import process from "node:process";

const [host, port] = (process.env["CHAOS_WITNESS"] ?? "").split(":");
const { ELECT_PARTICIPANT_ID: id, ELECT_TOKEN: token } = process.env;

// Every 10 ms: short against every margin in a lease, so that two that run at once cannot miss each other for long.
const TICK_MS = 10;

const socket = connect({ host: host ?? "", port: Number(port) }, () => {
  socket.setNoDelay(true);
  socket.write(`begin ${id} ${token}\n`);
  setInterval(() => socket.write("tick\n"), TICK_MS);
});
// One item at a time: the witness says which, and the answer is that it is done.
socket.on("data", (chunk: Uint8Array) => {
  for (const line of new TextDecoder().decode(chunk).trim().split("\n")) {
    const [verb, item] = line.split(" ");
    if (verb === "do") setTimeout(() => socket.write(`done ${item}\n`), 2 * TICK_MS);
  }
});
for (const event of ["error", "close"]) socket.on(event, () => process.exit(1));
process.on("SIGTERM", () => process.exit(0));
