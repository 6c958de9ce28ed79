/**
 * What lies between a participant and the server: messages that are slow, lost, repeated, out of order, or far too
 * late.
 *
 * @module
 */

import { providerError } from "../../src/call.ts";
import type { Instant } from "../../src/time/clock.ts";
import type { ProviderOperation } from "../../src/errors.ts";
import type {
  Acquired,
  AcquireRequest,
  CallOptions,
  Held,
  Hint,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  ReleaseCallOptions,
  RenewOptions,
} from "../../src/provider.ts";
import type { Random } from "./random.ts";
import type { Trouble } from "./scenario.ts";
import type { SimulatedServer } from "./server.ts";
import type { Process, World } from "./world.ts";

/** What became of a call, as its caller learned it. */
export interface CallReport {
  readonly operation: ProviderOperation;
  readonly termId: string | null;
  /** What the caller's clock showed before anything was sent. */
  readonly sent: Instant;
  /** The answer; undefined while there is none. */
  readonly answer: unknown;
}

/** Sees the calls of one process. */
export interface CallObserver {
  /** A call begins. */
  onCall(operation: ProviderOperation, termId: string | null): void;
  /** An answer is handed over, just before the caller sees it. */
  onAnswer(report: CallReport): void;
  /** A hint says that the lease was released for a participant. */
  onTransfer(participantId: string): void;
  /** A call has settled, or was given up. */
  onEnd(operation: ProviderOperation): void;
}

/** The way of one message. */
interface Way {
  readonly lost: boolean;
  readonly refused: boolean;
  readonly delayMs: number;
  /** After how long it arrives again; null if it does not. */
  readonly againMs: number | null;
}

/** The network, with all that is wrong with it at the moment. */
export class Network {
  readonly faults: Set<Trouble> = new Set();
  readonly #world: World;
  readonly #random: Random;
  readonly #latencyMs: number;

  constructor(world: World, random: Random, latencyMs: number) {
    this.#world = world;
    this.#random = random;
    this.#latencyMs = latencyMs;
  }

  /** Decides what becomes of a message to, or an answer from, the server, of the participant `who`. */
  way(who: number, isAnswer = false): Way {
    const random = this.#random;
    let delayMs = random.between(0.1, this.#latencyMs);
    let lost = false;
    let refused = false;
    let againMs: number | null = null;
    for (const fault of this.#of(who)) {
      if (fault.harm === "partition" || (isAnswer && fault.harm === "lost answers")) lost = true;
      else if (fault.harm === "refusal") refused = true;
      else if (fault.harm === "bad network") {
        if (random.chance(fault.lose)) lost = true;
        if (random.chance(fault.late)) delayMs += random.between(0, fault.lateMs);
        if (random.chance(fault.duplicate)) againMs = random.between(0, 2 * fault.lateMs);
      }
    }
    // Once nothing goes wrong any more, nothing that went wrong before is still on its way.
    const latest = Math.max(this.#world.quietAt - this.#world.now, this.#latencyMs);
    delayMs = Math.min(delayMs, latest);
    return { lost, refused, delayMs, againMs: againMs && Math.min(delayMs + againMs, latest) };
  }

  /** Whether the client of `who` ignores its signals. */
  isDeaf(who: number): boolean {
    for (const fault of this.#of(who)) if (fault.harm === "deafness") return true;
    return false;
  }

  *#of(who: number): Iterable<Trouble> {
    for (const fault of this.faults) if (fault.who === -1 || fault.who === who) yield fault;
  }
}

/** What a participant's provider needs of its surroundings. */
export interface Surroundings {
  readonly world: World;
  readonly network: Network;
  readonly server: SimulatedServer;
  readonly process: Process;
  readonly who: number;
  readonly watch: boolean;
  readonly refusesMetadata: boolean;
  readonly observer: CallObserver;
}

/** The provider that a simulated participant is given. It keeps the contract, and nothing beyond it. */
export class SimulatedProvider implements Provider {
  readonly name = "simulated";
  readonly capabilities: ProviderCapabilities;
  readonly watch?: NonNullable<Provider["watch"]>;
  readonly #at: Surroundings;

  constructor(surroundings: Surroundings) {
    this.#at = surroundings;
    const { watch } = surroundings;
    this.capabilities = { watch, timeAuthority: "server", minTimeout: 1, durability: "None: it is a simulation." };
    if (watch) this.watch = (_, { signal }) => this.#watch(signal);
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    return this.#call("acquire", request.termId, signal, () => this.#at.server.acquire(request));
  }

  renew(lease: Lease, { signal, metadata }: RenewOptions): Promise<"renewed" | "lost"> {
    const isRefused = metadata !== undefined && this.#at.refusesMetadata;
    return this.#call("renew", lease.termId, signal, () => this.#at.server.renew(lease, metadata), isRefused);
  }

  release(
    lease: Pick<Lease, "electionGroup" | "termId">,
    { signal, transferTo }: ReleaseCallOptions,
  ): Promise<"released" | "notHolder"> {
    return this.#call("release", lease.termId, signal, () => this.#at.server.release(lease, transferTo));
  }

  read(_: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    return this.#call("read", null, signal, () => this.#at.server.read());
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    return this.#call("healthCheck", null, signal, () => Promise.resolve());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  #call<T>(
    operation: ProviderOperation,
    termId: string | null,
    signal: AbortSignal,
    carryOut: () => Promise<T>,
    isRefused = false,
  ): Promise<T> {
    const { world, network, server, process, who, observer } = this.#at;
    observer.onCall(operation, termId);
    const sent = process.instant();
    return new Promise<T>((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      if (!network.isDeaf(who)) signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      const answer = (settle: () => void) => {
        const { lost, delayMs } = network.way(who, true);
        // Nobody hears the answer to a call that was given up, not even where the client ignored its signal.
        if (!lost) world.at(world.now + delayMs, () => signal.aborted || settle(), process);
      };
      const refuse = (why: string) =>
        answer(() => reject(providerError(this.name, operation, "store", new Error(why))));
      const arrive = () => {
        if (server.isDown) return refuse("connection refused");
        if (isRefused) return refuse("the record is too large");
        if (server.frozen !== null) return void server.frozen.push(arrive);
        const { broken } = server;
        void carryOut().then((value) => {
          answer(() => {
            if (broken.aborted) {
              return reject(providerError(this.name, operation, "store", new Error("connection reset")));
            }
            observer.onAnswer({ operation, termId, sent, answer: value });
            resolve(value);
          });
        });
      };
      const { lost, refused, delayMs, againMs } = network.way(who);
      if (refused) return refuse("no route to host");
      if (!lost) world.at(world.now + delayMs, arrive);
      // A message that comes again gets an answer too, which nobody waits for any more.
      if (!lost && againMs !== null && !isRefused) {
        world.at(world.now + againMs, () => server.isDown || void carryOut());
      }
    }).finally(() => observer.onEnd(operation));
  }

  async *#watch(signal: AbortSignal): AsyncIterable<Hint> {
    const { world, network, server, process, who, observer } = this.#at;
    const { broken } = server;
    const [sending, stream]: [Hint[], Hint[]] = [[], []];
    let isBroken = false;
    let resume = () => {};
    // One after the other: a stream keeps their order.
    let last = 0;
    const send = (sent: Hint) => {
      const { lost, refused, delayMs } = network.way(who);
      if (refused) isBroken = true;
      if (lost) return;
      last = Math.max(last, world.now + delayMs);
      sending.push(sent);
      world.at(last, () => (stream.push(...sending.splice(0, 1)), resume()), process);
    };
    const breakOff = () => world.at(world.now, () => (isBroken = true, resume()), process);
    const end = () => resume();
    const listening = new AbortController();
    broken.addEventListener("abort", breakOff);
    signal.addEventListener("abort", end);
    if (server.isDown || broken.aborted) breakOff();
    else void listen(server.watch(listening.signal), send);
    try {
      while (!signal.aborted) {
        if (isBroken) throw providerError(this.name, "watch", "store", new Error("connection reset"));
        const hint = stream.shift();
        if (hint !== undefined) {
          if (hint.transferTo !== undefined) observer.onTransfer(hint.transferTo);
          yield hint;
        } else await new Promise<void>((resolve) => resume = resolve);
      }
    } finally {
      listening.abort();
      broken.removeEventListener("abort", breakOff);
      signal.removeEventListener("abort", end);
    }
  }
}

async function listen(hints: AsyncIterable<Hint>, send: (hint: Hint) => void): Promise<void> {
  for await (const hint of hints) send(hint);
}
