/**
 * Leases in a SQLite database: each call is one step in the table.
 *
 * @module
 */

import { callBackend, providerError } from "../../src/call.ts";
import type { ProviderOperation } from "../../src/errors.ts";
import type {
  Acquired,
  AcquireRequest,
  CallOptions,
  Held,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  ReleaseCallOptions,
  RenewOptions,
  TransferHint,
} from "../../src/provider.ts";
import type { Clock } from "../../src/time/clock.ts";
import { type Connection, Database, explain } from "./database.ts";
import { Hints } from "./hints.ts";
import { Leases } from "./leases.ts";
import type { Statfs } from "./network.ts";

/** The provider: see `sqliteProvider`. */
export class SqliteProvider implements Provider {
  readonly name = "sqlite";
  readonly capabilities: ProviderCapabilities = {
    watch: true,
    transfer: true,
    timeAuthority: "host",
    minTimeout: 100,
    durability: "Tokens survive crashes and power failures, which may cost leases; removing the file forgets them.",
  };
  readonly #database: Database;
  readonly #leases: Leases;
  readonly #hints: Hints;
  readonly #closing = new AbortController();

  /** Does no I/O. `busyTimeout` is in milliseconds; tests give a `statfs` of their own. */
  constructor(path: string, clock: Clock, busyTimeout: number, statfs?: Statfs) {
    this.#database = new Database(path, clock, busyTimeout, statfs);
    this.#leases = new Leases(clock);
    this.#hints = new Hints(clock, (electionGroups) => this.#look(electionGroups));
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    const step = (connection: Connection) => this.#leases.acquire(connection, request);
    return this.#call("acquire", signal, () => this.#database.writeOrCreate(signal, step));
  }

  renew({ electionGroup, termId }: Lease, { signal, metadata }: RenewOptions): Promise<"renewed" | "lost"> {
    const step = (connection: Connection) => this.#leases.renew(connection, electionGroup, termId, metadata);
    return this.#call("renew", signal, async () => await this.#database.write(signal, step) ?? "lost");
  }

  release(
    { electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">,
    { signal, transferTo = "" }: ReleaseCallOptions,
  ): Promise<"released" | "notHolder"> {
    const step = (connection: Connection) => this.#leases.release(connection, electionGroup, termId, transferTo);
    return this.#call("release", signal, async () => await this.#database.write(signal, step) ?? "notHolder");
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    const step = (connection: Connection) => this.#leases.read(connection, electionGroup);
    return this.#call("read", signal, () => this.#database.read(signal, step));
  }

  async *watch(electionGroup: string, { signal }: CallOptions): AsyncIterable<void | TransferHint> {
    try {
      yield* this.#hints.watch(electionGroup, signal);
    } catch (cause) {
      throw providerError(this.name, "watch", this.#database.path, cause);
    }
  }

  groups({ signal }: CallOptions): Promise<string[]> {
    const step = (connection: Connection) => this.#leases.groups(connection);
    return this.#call("groups", signal, async () => await this.#database.read(signal, step) ?? []);
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    return this.#call("healthCheck", signal, () => this.#database.probe(signal));
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error("the provider is closed"));
    this.#hints.close();
    this.#database.close();
    return Promise.resolve();
  }

  #call<T>(operation: ProviderOperation, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return callBackend(this.name, operation, this.#database.path, signal, () => explain(work()));
  }

  async #look(electionGroups: readonly string[]): Promise<readonly string[]> {
    const step = (connection: Connection) => this.#leases.states(connection, electionGroups);
    return await this.#database.read(this.#closing.signal, step) ?? electionGroups.map(() => "");
  }
}
