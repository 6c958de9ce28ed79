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
  Hint,
  Inspection,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  ReleaseCallOptions,
  RenewOptions,
} from "../../src/provider.ts";
import type { Clock } from "../../src/time/clock.ts";
import { hostProcesses, type Processes } from "../kit/host_process.ts";
import { type Connection, Database, explain } from "./database.ts";
import { Hints } from "./hints.ts";
import { inspectDatabase } from "./inspection.ts";
import { Leases } from "./leases.ts";
import type { Statfs } from "./network.ts";

/** The host, as far as it is not the file. Tests have another. */
export interface Surroundings {
  /** See {@linkcode Processes}. */
  readonly processes: Processes;
  /** The ids of processes beside this one that act for the holder of a lease. */
  readonly heldBy: (() => readonly number[]) | undefined;
  /** See {@linkcode Statfs}. */
  readonly statfs: Statfs | undefined;
}

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
  readonly #identify: () => Promise<string>;
  readonly #closing = new AbortController();

  /** Does no I/O. `busyTimeout` is in milliseconds. */
  constructor(path: string, clock: Clock, busyTimeout: number, surroundings: Partial<Surroundings> = {}) {
    const { processes = hostProcesses, heldBy = () => [], statfs } = surroundings;
    this.#database = new Database(path, clock, busyTimeout, statfs);
    this.#leases = new Leases(clock, processes);
    this.#identify = async () => {
      const holders = await processes.identify(heldBy());
      return holders === null ? "" : JSON.stringify(holders);
    };
    this.#hints = new Hints(path, clock, (electionGroups) => this.#look(electionGroups));
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    const prepare = async () => {
      await this.#judge(request.electionGroup, signal);
      const holders = await this.#identify();
      return (connection: Connection) => this.#leases.acquire(connection, request, holders);
    };
    return this.#call("acquire", signal, () => this.#database.writeOrCreate(signal, prepare));
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
    return this.#call("read", signal, async () => {
      await this.#judge(electionGroup, signal);
      return await this.#database.read(signal, step);
    });
  }

  async *watch(electionGroup: string, { signal }: CallOptions): AsyncIterable<Hint> {
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

  inspect({ signal }: CallOptions): Promise<Inspection> {
    return this.#call("healthCheck", signal, () => inspectDatabase(this.#database, signal));
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

  /** Looks at a group, and then for its holder. */
  async #judge(electionGroup: string, signal: AbortSignal): Promise<void> {
    await this.#database.read(signal, (connection) => this.#leases.states(connection, [electionGroup]));
    await this.#leases.bury([electionGroup]);
  }

  async #look(electionGroups: readonly string[]): Promise<readonly string[]> {
    const step = (connection: Connection) => this.#leases.states(connection, electionGroups);
    // A death changes no file. It shows in the states of this look where the row was seen before, else of the next.
    await this.#leases.bury(electionGroups);
    return await this.#database.read(this.#closing.signal, step) ?? electionGroups.map(() => "");
  }
}
