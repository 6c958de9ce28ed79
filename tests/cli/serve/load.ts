/**
 * Traffic that a server must stand, bounded in count and time: readers of events, and everything that is not asked
 * nicely.
 */

import { connect, type Socket } from "node:net";

/** How a hostile request ended: the status of its answer, or `closed` without one. */
export type Ending = number | "closed";

interface Hostile {
  readonly name: string;
  /** What is sent. */
  readonly bytes: string;
  /** One of so many requests is of this kind. */
  readonly every: number;
}

const AT = "HTTP/1.1\r\nHost: localhost\r\n";

/** Kinds of hostile requests. The first of which the turn comes is sent. */
const HOSTILE: readonly Hostile[] = [
  { name: "slow", bytes: `GET /leaderz ${AT}X-Slow:`, every: 50 },
  { name: "slow body", bytes: `POST /v1/elections/g/release ${AT}Content-Length: 9\r\n\r\n{`, every: 51 },
  { name: "oversized headers", bytes: `GET / ${AT}X-Big: ${"x".repeat(100_000)}\r\n\r\n`, every: 13 },
  {
    name: "oversized body",
    bytes: `POST /v1/elections/g/release ${AT}Content-Length: 100000\r\n\r\n${"x".repeat(100_000)}`,
    every: 11,
  },
  { name: "malformed", bytes: "\x16\x03\x01 GET ? \0\r\n\r\n", every: 7 },
  {
    name: "unauthorised",
    bytes: `POST /v1/elections/g/release ${AT}Authorization: Bearer no-token-of-anybody\r\nContent-Length: 0\r\n\r\n`,
    every: 5,
  },
  { name: "foreign host", bytes: "GET /v1/elections HTTP/1.1\r\nHost: evil.example\r\n\r\n", every: 3 },
  { name: "hasty", bytes: "", every: 1 },
];

/** See the module. */
export class Load implements Disposable {
  /** How many bytes each reader of events has received. */
  readonly received: number[] = [];
  /** The status of the answer to each of them; undefined before there is one. */
  readonly answers: (number | undefined)[] = [];
  /** How many of them are cut off. */
  cut = 0;
  /** How requests of each kind ended, and how many did so. */
  readonly endings = new Map<string, Map<Ending, number>>();
  /** How many connections were opened. */
  opened = 0;
  readonly #port: number;
  readonly #sockets = new Set<Socket>();

  constructor(url: string) {
    this.#port = Number(new URL(url).port);
  }

  /** Opens `count` streams of events of `group`. */
  read(group: string, count: number): void {
    for (let each = 0; each < count; each++) {
      const at = this.received.push(0) - 1;
      this.answers.push(undefined);
      const socket = this.#open();
      socket.write(`GET /v1/elections/${group}/changes ${AT}\r\n`);
      socket.on("data", (bytes) => {
        this.answers[at] ??= Number(/^HTTP\/1\.1 (\d{3})/.exec(bytes.toString())?.[1]);
        this.received[at] = (this.received[at] ?? 0) + bytes.length;
      });
      socket.on("close", () => this.cut++);
    }
  }

  /** Opens `perSecond` connections a second for `seconds`, and does on each what one should not. */
  async attack(perSecond: number, seconds: number): Promise<void> {
    const began = Date.now();
    for (let sent = 0; sent < perSecond * seconds; sent++) {
      // Behind schedule it goes on without a pause.
      const ahead = began + sent / perSecond * 1_000 - Date.now();
      if (ahead > 5) await new Promise((resolve) => setTimeout(resolve, ahead));
      const kind = HOSTILE.find(({ every }) => sent % every === every - 1);
      if (kind !== undefined) this.#send(kind);
      if (sent % 20 === 0) await new Promise((resolve) => setTimeout(resolve));
    }
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  #send({ name, bytes }: Hostile): void {
    const socket = this.#open();
    let ending: Ending = "closed";
    socket.on("data", (data) => {
      ending = Number(/^HTTP\/1\.1 (\d{3})/.exec(data.toString())?.[1] ?? 0);
      socket.destroy();
    });
    socket.on("close", () => {
      const endings = this.endings.get(name) ?? new Map<Ending, number>();
      this.endings.set(name, endings.set(ending, (endings.get(ending) ?? 0) + 1));
    });
    if (bytes === "") socket.on("connect", () => socket.destroy());
    else socket.write(bytes);
  }

  #open(): Socket {
    const socket = connect(this.#port, "127.0.0.1");
    this.opened++;
    this.#sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#sockets.delete(socket));
    return socket;
  }
}
