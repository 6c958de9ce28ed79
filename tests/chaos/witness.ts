/**
 * Records who ran when under which token, by one clock: its own, at the moment at which a message is taken.
 *
 * Why the order can be trusted: a worker's message is taken soon after it was sent, since it waits in a buffer of the
 * kernel even if its sender has been killed meanwhile. A `begin` is put off for two turns of the event loop, in which
 * all that had arrived before it, on any connection, is taken first. So a message that is taken after the `begin` of a
 * newer term was sent after that term had begun: its sender ran beside it. An overlap shorter than the 10 ms between
 * two ticks can go unseen.
 */

import { createServer, type Server, type Socket } from "node:net";
import { systemClock } from "../../src/time/clock.ts";

interface Reign {
  readonly id: string;
  readonly token: bigint;
  readonly began: number;
}

/** What was seen. */
export interface Testimony {
  terms: number;
  /** Pairs of terms that ran at the same time, and for how long they were seen to. */
  overlaps: Map<string, string>;
  regressions: string[];
  /** Items that were done. */
  done: number;
  /** Items that were done again although they were done. */
  doneTwice: number;
  /** Attempts of an old term that the sink refused. */
  fenced: number;
}

/** The witness, and the fenced sink that the leaders work for. */
export class Witness {
  readonly testimony: Testimony = { terms: 0, overlaps: new Map(), regressions: [], done: 0, doneTwice: 0, fenced: 0 };
  /** When somebody was last seen to run, by the monotonic clock. */
  lastSeen = -Infinity;
  /** Whoever ran last. */
  newest: Reign | null = null;
  readonly #server: Server;
  readonly #done = new Map<number, bigint>();
  #next = 1;

  private constructor(server: Server) {
    this.#server = server;
    server.on("connection", (socket) => this.#hear(socket));
  }

  /** Starts to listen on a free port of 127.0.0.1. */
  static async start(): Promise<Witness> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Witness(server);
  }

  /** Where workers report. */
  get address(): string {
    const address = this.#server.address();
    return `127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  }

  /** Items that were given out and never done, beyond the one that may be under way. */
  get lost(): number {
    return Math.max(0, this.#next - 1 - this.#done.size);
  }

  /** Stops listening. */
  close(): void {
    this.#server.close();
  }

  #hear(socket: Socket): void {
    let reign: Reign | null = null;
    let rest = "";
    socket.setNoDelay(true);
    socket.on("error", () => socket.destroy());
    socket.on("data", (chunk: Uint8Array) => {
      const lines = (rest + new TextDecoder().decode(chunk)).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        const [verb, first = "", second = ""] = line.split(" ");
        if (verb === "begin") {
          setImmediate(() => setImmediate(() => this.#give(socket, reign = this.#begin(first, BigInt(second)))));
        } else if (reign !== null) {
          this.#see(reign);
          if (verb === "done") this.#finish(socket, reign, Number(first));
        }
      }
    });
  }

  #begin(id: string, token: bigint): Reign {
    const reign = { id, token, began: systemClock.monotonic() };
    this.testimony.terms++;
    if (this.newest !== null && token <= this.newest.token) {
      this.testimony.regressions.push(`${id} began under ${token}, after ${this.newest.id} under ${this.newest.token}`);
    } else {
      this.newest = reign;
    }
    this.lastSeen = reign.began;
    return reign;
  }

  #see(reign: Reign): void {
    const now = this.lastSeen = systemClock.monotonic();
    const { newest } = this;
    if (newest === null || newest === reign) return;
    const since = (now - newest.began).toFixed(1);
    this.testimony.overlaps.set(
      `${reign.token} ${newest.token}`,
      `${reign.id} under ${reign.token} ran until ${since} ms after ${newest.id} had begun under ${newest.token}`,
    );
  }

  /** Hands out the first item that is not done. */
  #give(socket: Socket, reign: Reign): void {
    if (!this.#admits(reign)) return;
    for (let item = Math.max(1, this.#next - 1);; item++) {
      if (this.#done.has(item)) continue;
      this.#next = Math.max(this.#next, item + 1);
      if (!socket.destroyed) socket.write(`do ${item}\n`);
      return;
    }
  }

  #finish(socket: Socket, reign: Reign, item: number): void {
    if (!this.#admits(reign)) return;
    if (this.#done.has(item)) this.testimony.doneTwice++;
    this.#done.set(item, reign.token);
    this.testimony.done++;
    this.#give(socket, reign);
  }

  /** The fence: a token that is lower than one that has been seen is refused. */
  #admits(reign: Reign): boolean {
    if (this.newest === null || reign.token >= this.newest.token) return true;
    this.testimony.fenced++;
    return false;
  }
}
