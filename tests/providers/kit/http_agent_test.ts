/** Connections that are kept, closed when they may be dead, and refused where a certificate cannot be had. */

import assert from "node:assert/strict";
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { test } from "node:test";
import { dial } from "../../../providers/kit/dial.ts";
import { type HttpConnections, openConnections } from "../../../providers/kit/http_agent.ts";
import { until } from "../../until.ts";

async function listening(onSocket: (socket: Socket) => void): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    onSocket(socket);
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", () => resolve()));
  return { server, port: (server.address() as AddressInfo).port };
}

function get(port: number, connections: HttpConnections, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    let socket: Socket | null = null;
    const asked = requestHttp({ host: "127.0.0.1", port, agent: connections.agent }, (message) => {
      let text = "";
      message.setEncoding("utf8").on("data", (part) => text += part).on("end", () => {
        connections.note(socket, true);
        resolve(text);
      });
    });
    asked.on("socket", (assigned) => socket = assigned).on("error", reject).end();
    signal.addEventListener("abort", () => {
      connections.note(socket, false);
      asked.destroy();
      reject(signal.reason);
    });
  });
}

function failsToGet(port: number, connections: HttpConnections): Promise<Error> {
  return new Promise((resolve) => {
    requestHttps({ host: "127.0.0.1", port, agent: connections.agent }).on("error", resolve).end();
  });
}

test("dial() ends at once when nobody listens, when it is aborted, and when the name has no address", async () => {
  const { server, port } = await listening(() => {});
  await new Promise((resolve) => server.close(resolve));
  const to = { host: "localhost", port, suspects: new Set<string>() };
  await assert.rejects(dial(to, new AbortController().signal), /ECONNREFUSED|refused/i);
  await assert.rejects(dial(to, AbortSignal.abort(new Error("gone"))), /gone/);
  await assert.rejects(dial({ ...to, host: "no-such-host.invalid" }, new AbortController().signal));
});

test("connections are kept, and closed for all when one request got no answer", async () => {
  let [accepted, open, isSilent] = [0, 0, false];
  const { server, port } = await listening((socket) => {
    accepted++;
    open++;
    socket.on("close", () => open--);
    socket.on("data", () => isSilent || socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));
  });
  const connections = openConnections(null);
  const { signal } = new AbortController();
  for (let i = 0; i < 5; i++) {
    assert.equal(await get(port, connections, signal), "ok");
    await until("the connection is kept", () => Object.values(connections.agent.freeSockets).flat().length > 0);
  }
  assert.equal(accepted, 1, "one after the other, they use one connection");
  await Promise.all([1, 2, 3].map(() => get(port, connections, signal)));
  await until("three are kept", () => Object.values(connections.agent.freeSockets).flat().length === 3);
  isSilent = true;
  await assert.rejects(get(port, connections, AbortSignal.timeout(100)));
  await until("those that were kept are closed, since they may be as dead", () => open === 0);
  isSilent = false;
  assert.equal(await get(port, connections, signal), "ok");
  connections.close();
  await until("none is left", () => open === 0);
  server.close();
});

test("close() ends connections that are still being made", async () => {
  const [seen, closed]: [Socket[], Socket[]] = [[], []];
  // Accepted, and never a word of TLS.
  const { server, port } = await listening((socket) => {
    seen.push(socket);
    socket.resume().on("close", () => closed.push(socket));
  });
  const connections = openConnections({});
  const failed = failsToGet(port, connections);
  await until("it is accepted", () => seen.length === 1);
  connections.close();
  await until("it is closed", () => closed.length === 1);
  assert.match((await failed).message, /closed/);
  server.close();
});

test("a certificate that cannot be read fails the request, and names its setting", async () => {
  const { server, port } = await listening(() => {});
  const connections = openConnections({ ca: "no/such/file.pem" });
  assert.match((await failsToGet(port, connections)).message, /setting "ca"/);
  connections.close();
  server.close();
});

test("a request is sent once, also when its connection was used before and ends without an answer", async () => {
  let requests = 0;
  let answers: (socket: Socket) => void = answer;
  const { server, port } = await listening((socket) => {
    socket.on("data", () => {
      requests++;
      answers(socket);
    });
  });
  const connections = openConnections(null);
  const { signal } = new AbortController();
  const ends: readonly [string, (socket: Socket) => void, number][] = [
    ["reset", (socket) => socket.resetAndDestroy(), 60_000],
    ["closed", (socket) => socket.end(), 60_000],
    ["given up", () => {}, 100],
  ];
  for (const [how, end, patienceMs] of ends) {
    answers = answer;
    assert.equal(await get(port, connections, signal), "ok");
    await until("the connection is kept", () => Object.values(connections.agent.freeSockets).flat().length > 0);
    const before = requests;
    answers = end;
    await assert.rejects(get(port, connections, AbortSignal.timeout(patienceMs)), how);
    // Time in which it would be there, had it been sent again.
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(requests - before, 1, how);
  }
  connections.close();
  server.close();
});

function answer(socket: Socket): void {
  socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}
