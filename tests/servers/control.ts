/**
 * A small HTTP endpoint on 127.0.0.1 through which tests kill, restart, freeze and thaw a server. It lives in the process
 * that started the server, so that the tests need no right to run programs.
 */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { ConformanceFaults } from "../../testing/conformance.ts";

/** What can be asked for, each by `POST /NAME`. */
const ACTIONS = ["kill", "restart", "freeze", "thaw"] as const;

/** A running control endpoint. */
export interface ControlEndpoint {
  /** Its URL, without a path. */
  readonly url: string;
  /** Closes it. */
  close(): Promise<void>;
}

/** Serves `faults` on a free port. What `faults` lacks is answered with 404. */
export async function serveControl(faults: ConformanceFaults): Promise<ControlEndpoint> {
  const server = createServer((request, response) => void answer(faults, request, response));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close() {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

async function answer(faults: ConformanceFaults, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const name = ACTIONS.find((each) => request.url === `/${each}`);
  const action = name && faults[name]?.bind(faults);
  // Without keep-alive no idle connection outlives a test.
  response.setHeader("connection", "close");
  if (request.url === "/" && request.method === "GET") {
    response.end(JSON.stringify(ACTIONS.filter((each) => faults[each] !== undefined)));
  } else if (action === undefined || request.method !== "POST") {
    response.writeHead(404).end(`no such action: ${request.method} ${request.url}`);
  } else {
    await action().then(
      () => response.writeHead(204).end(),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  }
}

/** Returns the faults that the control endpoint at `url` injects. */
export function controlled(url: string): Required<ConformanceFaults> {
  async function post(action: string): Promise<void> {
    const response = await fetch(new URL(action, url), { method: "POST", signal: AbortSignal.timeout(60_000) });
    const body = await response.text();
    if (!response.ok) throw new Error(`Cannot ${action} the server: ${body}`);
  }
  return {
    kill: () => post("kill"),
    restart: () => post("restart"),
    freeze: () => post("freeze"),
    thaw: () => post("thaw"),
  };
}
