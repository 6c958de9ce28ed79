/**
 * The provider of {@linkcode fileProvider}: {@linkcode Group} has the protocol.
 *
 * @module
 */

import { callBackend } from "../../src/call.ts";
import type { Clock } from "../../src/clock.ts";
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
  RenewOptions,
} from "../../src/provider.ts";
import { type Files, groupNames, probe } from "./directory.ts";
import { explain } from "./failure.ts";
import { Group } from "./group.ts";
import { Hints } from "./hints.ts";

/** Leases in files. `providers/file.ts` says what it promises. */
export class FileProvider implements Provider {
  readonly name = "file";
  readonly capabilities: ProviderCapabilities = {
    watch: true,
    timeAuthority: "host",
    minTimeout: 100,
    durability: "Leases and tokens survive crashes and power failures; removing the directory forgets them.",
  };
  readonly #root: string;
  readonly #clock: Clock;
  readonly #files: Files;
  readonly #groups = new Map<string, Group>();
  readonly #hints: Hints;

  /** Opens the directory `root`, without I/O. */
  constructor(root: string, clock: Clock, files: Files) {
    this.#root = root;
    this.#clock = clock;
    this.#files = files;
    this.#hints = new Hints(root, clock, (electionGroup) => this.#group(electionGroup).state());
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    return this.#call("acquire", signal, () => this.#group(request.electionGroup).acquire(request, signal));
  }

  renew(lease: Lease, { signal, metadata }: RenewOptions): Promise<"renewed" | "lost"> {
    return this.#call("renew", signal, () => this.#group(lease.electionGroup).renew(lease, metadata, signal));
  }

  release(
    { electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">,
    { signal }: CallOptions,
  ): Promise<"released" | "notHolder"> {
    return this.#call("release", signal, () => this.#group(electionGroup).release(termId, signal));
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    return this.#call("read", signal, () => this.#group(electionGroup).read());
  }

  watch(electionGroup: string, { signal }: CallOptions): AsyncIterable<void> {
    return this.#hints.watch(electionGroup, signal);
  }

  groups({ signal }: CallOptions): Promise<string[]> {
    return this.#call("groups", signal, () => groupNames(this.#root, this.#files));
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    return this.#call("healthCheck", signal, () => probe(this.#root, this.#files, signal));
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#hints.close();
    return Promise.resolve();
  }

  #group(electionGroup: string): Group {
    let group = this.#groups.get(electionGroup);
    if (group === undefined) {
      group = new Group(this.#root, electionGroup, this.#clock, this.#files);
      this.#groups.set(electionGroup, group);
    }
    return group;
  }

  #call<T>(operation: ProviderOperation, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return callBackend(this.name, operation, this.#root, signal, () => explain(work()));
  }
}
