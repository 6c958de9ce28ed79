/**
 * A small HTTP endpoint on 127.0.0.1 through which tests kill, restart, freeze and thaw a server. It lives in the
 * process that started the server, so that the tests need no right to run programs.
 */

import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { ConformanceDetour, ConformanceFaults } from "../../testing/conformance.ts";
import { patience } from "../slowness.ts";
import { Detour } from "./detour.ts";
import type { TestServer } from "./server.ts";

/** What can be asked for, each by `POST /NAME`. */
const ACTIONS = ["kill", "restart", "freeze", "thaw", "hold-all", "hold-end", "bypass", "deliver"] as const;

type Actions = Readonly<Partial<Record<(typeof ACTIONS)[number], () => Promise<void> | void>>>;

/** A running control endpoint. */
export interface ControlEndpoint {
  /** Its URL, without a path. */
  readonly url: string;
  /** `HOST:PORT` of a way to the server on which calls can be held back. */
  readonly detour: string;
  /** Closes it. */
  close(): Promise<void>;
}

/** Serves what can be done to `server`, and a detour to `HOST:PORT`, on free ports. */
export async function serveControl(server: TestServer, address: string): Promise<ControlEndpoint> {
  const detour = await Detour.start(address);
  const actions: Actions = {
    kill: () => server.kill(),
    restart: () => server.restart(),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    "hold-all": () => detour.hold("all"),
    "hold-end": () => detour.hold("end"),
    bypass: () => detour.bypass(),
    deliver: () => detour.deliver(),
  };
  const endpoint = createServer((request, response) => void answer(actions, request, response));
  await new Promise<void>((resolve, reject) => {
    endpoint.once("error", reject);
    endpoint.listen(0, "127.0.0.1", resolve);
  });
  const { port } = endpoint.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    detour: detour.address,
    close() {
      detour.close();
      endpoint.closeAllConnections();
      return new Promise((resolve) => endpoint.close(() => resolve()));
    },
  };
}

async function answer(actions: Actions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const name = ACTIONS.find((each) => request.url === `/${each}`);
  const action = name && actions[name];
  // Without keep-alive no idle connection outlives a test.
  response.setHeader("connection", "close");
  if (request.url === "/" && request.method === "GET") {
    response.end(JSON.stringify(ACTIONS.filter((each) => actions[each] !== undefined)));
  } else if (action === undefined || request.method !== "POST") {
    response.writeHead(404).end(`no such action: ${request.method} ${request.url}`);
  } else {
    try {
      await action();
      response.writeHead(204).end();
    } catch (error) {
      response.writeHead(500).end(String(error));
    }
  }
}

/** Returns the faults that the control endpoint at `url` injects. */
export function controlled(url: string): Required<ConformanceFaults> {
  return {
    kill: () => post(url, "kill"),
    restart: () => post(url, "restart"),
    freeze: () => post(url, "freeze"),
    thaw: () => post(url, "thaw"),
  };
}

/** Returns the hold that the control endpoint at `url` has on its detour. */
export function holdOn(url: string): Omit<ConformanceDetour, "open"> {
  return {
    hold: (part) => post(url, `hold-${part}`),
    bypass: () => post(url, "bypass"),
    deliver: () => post(url, "deliver"),
  };
}

async function post(url: string, action: string): Promise<void> {
  const response = await fetch(new URL(action, url), { method: "POST", signal: AbortSignal.timeout(patience(60_000)) });
  const body = await response.text();
  if (!response.ok) throw new Error(`Cannot ${action} the server: ${body}`);
}
