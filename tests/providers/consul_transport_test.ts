/** The transport to Consul, to servers that end connections with and without an answer. */

import assert from "node:assert/strict";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { openTransport } from "../../providers/consul/transport.ts";

async function ask(answer: (socket: Socket) => void, times: number): Promise<string[]> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", () => answer(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()));
  const transport = openTransport(null);
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/status/leader`;
  const answers: string[] = [];
  try {
    for (let i = 0; i < times; i++) {
      const signal = AbortSignal.timeout(10_000);
      const got = await transport.fetch(url, { method: "GET", headers: {}, signal }).then(
        async (response) => `${response.status} ${response.headers.get("x-consul-index")} ${await response.text()}`,
        (error: Error) => `${error.name} ${error.message}`,
      );
      answers.push(got);
    }
    return answers;
  } finally {
    transport.close();
    server.close();
  }
}

const HEAD = "HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\n";
const body = "x".repeat(100_000);

test("an answer is read to its end, when the host closes the connection behind it", async () => {
  const answers = await ask(
    (socket) => socket.end(`${HEAD}Connection: close\r\nContent-Length: 100000\r\n\r\n${body}`),
    20,
  );
  assert.deepEqual(new Set(answers), new Set([`200 7 ${body}`]));
});

test("an answer in pieces is read to its end", async () => {
  const chunked = `${HEAD}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n`;
  assert.deepEqual(
    await ask((socket) => void socket.write(chunked), 3),
    Array.from({ length: 3 }, () => "200 7 abcdefg"),
  );
});

test("an answer that is cut short is an error, and so is none", async () => {
  for (const end of [`${HEAD}Content-Length: 100000\r\n\r\nhalf`, HEAD, ""]) {
    for (const how of ["end", "resetAndDestroy"] as const) {
      const answers = await ask((socket) => void (how === "end" ? socket.end(end) : socket.resetAndDestroy()), 2);
      for (const each of answers) {
        assert.doesNotMatch(each, /^200|Timeout/, `${how} after "${end}"`);
      }
    }
  }
});
