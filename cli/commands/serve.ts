/**
 * `elect serve`: elections for any program on the host, over HTTP.
 *
 * @module
 */

import type { Command } from "../args.ts";
import { PARTICIPANT } from "../options.ts";

/** `elect serve`. */
export const serveCommand: Command = {
  name: "serve",
  usage: "GROUP...",
  summary: "Takes part in elections, and tells any program over HTTP who leads; with a page for people.",
  details:
    `Answers at /v1/elections, /healthz, /readyz, /leaderz and /metrics; /openapi.json describes them. Reading needs
no password, so it listens on 127.0.0.1 unless told otherwise. POST /v1/elections/GROUP/release needs a bearer token,
which --token-file or ELECT_SERVE_TOKEN holds. SIGTERM hands leadership over, then ends.`,
  example: "elect serve nightly billing --port 4040",
  options: [...PARTICIPANT, "observe", "port", "host", "socket", "allow-host", "token-file"],
  // Loaded late: the page alone is larger than the other commands.
  run: async (invocation, use) => await (await import("../serve/serve.ts")).serve(invocation, use),
};
