/**
 * Elections within one process, for tests and for programs that elect among their own parts: `memory:` or
 * `memory:NAME`. All providers of one name share one store.
 *
 * - **Token**: a counter of the group.
 * - **Clock**: the injected one decides when a lease expires.
 * - **Not promised**: anything beyond the process. When it ends, leases and tokens are gone.
 * - **A heartbeat** costs a map look-up.
 *
 * @module
 */

import { type Clock, systemClock } from "../src/time/clock.ts";
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
} from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { CATALOG } from "./catalog.ts";
import { HintStream } from "./kit/hint_stream.ts";
import { checkOptions } from "./kit/parameters.ts";

/** The settings of the provider. */
export interface MemoryOptions {
  /** Which store: providers of one name share it. @default "" */
  readonly name?: string | undefined;
  /**
   * Decides when leases expire. All providers of one store must be given the same. @default the clock of the machine
   */
  readonly clock?: Clock | undefined;
}

/**
 * Opens a provider that keeps leases in the memory of this process.
 *
 * @throws {TypeError} if there is an option that does not exist, or `name` is no text
 *
 * @example
 * ```ts
 * import { memoryProvider } from "@multilock/core/memory";
 *
 * await using provider = memoryProvider({ name: "docs" });
 * await provider.healthCheck({ signal: AbortSignal.timeout(1_000) });
 * ```
 */
export function memoryProvider(options: MemoryOptions = {}): Provider {
  const { name = "", clock = systemClock } = checkOptions("memory", options, ["name", "clock"]);
  if (typeof name !== "string") throw new TypeError(`Cannot open memory: its name must be text, is ${typeof name}`);
  let store = stores.get(name);
  if (store === undefined) stores.set(name, store = new Map());
  return new MemoryProvider(store, clock);
}

/** The memory that a store keeps of one group, for ever: the token must outlive every lease. */
interface Group {
  token: bigint;
  held: HeldLease | null;
  readonly watchers: Set<HintStream>;
}

interface HeldLease {
  readonly lease: Lease;
  metadata: Readonly<Record<string, string>>;
  renewedAt: number;
  renewedAtWall: number;
}

const stores = new Map<string, Map<string, Group>>();

/** Every operation is one synchronous step of one thread, and so atomic. */
class MemoryProvider implements Provider {
  readonly name = "memory";
  readonly capabilities: ProviderCapabilities = {
    watch: true,
    transfer: true,
    timeAuthority: "host",
    minTimeout: 1,
    durability: "Leases and tokens are gone when the process ends.",
  };
  readonly #store: Map<string, Group>;
  readonly #clock: Clock;

  constructor(store: Map<string, Group>, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    return atOnce(signal, () => {
      const group = this.#group(request.electionGroup);
      let held = this.#live(group);
      if (held !== null && held.lease.termId !== request.termId) {
        return { acquired: false, leader: this.#describe(held) };
      }
      if (held === null) {
        const { electionGroup, participantId, termId, heartbeatTimeout } = request;
        const acquiredAt = new Date(this.#clock.wall());
        const lease: Lease = {
          electionGroup,
          participantId,
          termId,
          token: ++group.token,
          acquiredAt,
          heartbeatTimeout,
        };
        held = group.held = { lease, metadata: {}, renewedAt: 0, renewedAtWall: 0 };
        this.#renew(held, request.metadata);
        if (group.watchers.size > 0) tell(group, { leader: this.#describe(held) });
      } else this.#renew(held, request.metadata);
      return { acquired: true, lease: held.lease };
    });
  }

  renew(lease: Lease, { signal, metadata }: RenewOptions): Promise<"renewed" | "lost"> {
    return atOnce(signal, () => {
      const group = this.#store.get(lease.electionGroup);
      const held = this.#live(group);
      if (group === undefined || held?.lease.termId !== lease.termId) return "lost";
      this.#renew(held, metadata ?? held.metadata);
      if (group.watchers.size > 0) tell(group, { renewed: this.#describe(held) });
      return "renewed";
    });
  }

  release(
    lease: Pick<Lease, "electionGroup" | "termId">,
    { signal, transferTo }: ReleaseCallOptions,
  ): Promise<"released" | "notHolder"> {
    return atOnce(signal, () => {
      const group = this.#store.get(lease.electionGroup);
      if (group === undefined || this.#live(group)?.lease.termId !== lease.termId) return "notHolder";
      group.held = null;
      tell(group, { waiting: group.watchers.size, ...(transferTo !== undefined && { transferTo }) });
      return "released";
    });
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    return atOnce(signal, () => {
      const held = this.#live(this.#store.get(electionGroup));
      return held === null ? null : this.#describe(held);
    });
  }

  async *watch(electionGroup: string, { signal }: CallOptions): AsyncIterable<Hint> {
    const { watchers } = this.#group(electionGroup);
    const stream = new HintStream();
    watchers.add(stream);
    try {
      yield* stream.read(signal);
    } finally {
      watchers.delete(stream);
    }
  }

  groups({ signal }: CallOptions): Promise<string[]> {
    return atOnce(signal, () => [...this.#store].filter(([, { token }]) => token > 0n).map(([name]) => name));
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    return atOnce(signal, () => {});
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  #group(electionGroup: string): Group {
    let group = this.#store.get(electionGroup);
    if (group === undefined) this.#store.set(electionGroup, group = { token: 0n, held: null, watchers: new Set() });
    return group;
  }

  /** The lease of the group while it lives. An expired one is as good as none: it cannot be renewed any more. */
  #live(group: Group | undefined): HeldLease | null {
    const held = group?.held ?? null;
    return held !== null && this.#expiresIn(held) > 0 ? held : null;
  }

  #expiresIn(held: HeldLease): number {
    return held.renewedAt + held.lease.heartbeatTimeout - this.#clock.monotonic();
  }

  #renew(held: HeldLease, metadata: Readonly<Record<string, string>>): void {
    held.metadata = metadata;
    held.renewedAt = this.#clock.monotonic();
    held.renewedAtWall = this.#clock.wall();
  }

  #describe(held: HeldLease): LeaderInfo {
    return {
      leaderId: held.lease.participantId,
      termId: held.lease.termId,
      token: held.lease.token,
      leadershipAcquiredAt: held.lease.acquiredAt,
      lastHeartbeat: new Date(held.renewedAtWall),
      metadata: held.metadata,
      expiresIn: this.#expiresIn(held),
    };
  }
}

function tell({ watchers }: Group, hint: Hint): void {
  for (const watcher of watchers) watcher.push(hint);
}

/** Does `step` now, unless `signal` has aborted; what it throws rejects. */
function atOnce<T>(signal: AbortSignal, step: () => T): Promise<T> {
  return new Promise((resolve) => {
    signal.throwIfAborted();
    resolve(step());
  });
}

registerProvider({
  ...CATALOG.memory,
  open: (url, { clock }) => memoryProvider({ name: decodeURIComponent(url.slice("memory:".length)), clock }),
});
