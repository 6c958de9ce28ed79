/** Stands between a client and a ZooKeeper server, and loses what a test wants to be lost. */

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A proxy of one server. Its hooks may be replaced at any time. */
export interface Proxy extends AsyncDisposable {
  /** Where it listens, on 127.0.0.1. */
  readonly port: number;
  /** Called with the type of each request before it is passed on. To return false cuts the connection instead. */
  onRequest: (type: number) => void | boolean | Promise<void | boolean>;
  /** Called before replies are passed on. To return false cuts the connection instead. */
  onReply: () => boolean;
  /** Passes nothing on, in either direction, until this resolves. */
  stalled: Promise<void>;
}

/** Starts a proxy of the server at 127.0.0.1:`target`. */
export async function startProxy(target: number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect({ port: target, host: "127.0.0.1" });
    const cut = () => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", cut);
      socket.on("close", () => (sockets.delete(socket), cut()));
    }
    void forward(client, async (frame, isFirst) => {
      const type = isFirst ? 0 : new DataView(frame.buffer).getInt32(8);
      if (await proxy.onRequest(type) === false) return cut();
      upstream.write(frame);
    });
    void forward(upstream, (frame) => {
      if (!proxy.onReply()) return cut();
      client.write(frame);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");

  /** Hands on the frames that `socket` sends, one after the other. */
  async function forward(
    socket: Socket,
    pass: (frame: Uint8Array, isFirst: boolean) => void | Promise<void>,
  ): Promise<void> {
    let rest = new Uint8Array(0);
    let isFirst = true;
    try {
      for await (const chunk of socket) {
        rest = Uint8Array.from([...rest, ...chunk]);
        for (;;) {
          const end = rest.length >= 4 ? new DataView(rest.buffer).getInt32(0) + 4 : Infinity;
          if (rest.length < end) break;
          const frame = rest.slice(0, end);
          rest = rest.slice(end);
          await proxy.stalled;
          await pass(frame, isFirst);
          isFirst = false;
        }
      }
    } catch {
      // The connection is gone, and its client is told by that.
    }
  }

  const proxy: Proxy = {
    port: (server.address() as AddressInfo).port,
    onRequest() {},
    onReply: () => true,
    stalled: Promise.resolve(),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return proxy;
}
