/**
 * The provider of {@linkcode fileProvider}: {@linkcode Group} has the protocol.
 *
 * @module
 */

import { callBackend } from "../../src/call.ts";
import type { Clock } from "../../src/time/clock.ts";
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
import { type Files, probe } from "./directory.ts";
import { explainFile } from "../kit/file_failure.ts";
import { inspectFileSystem } from "../kit/file_system.ts";
import { Group, type GroupSurroundings } from "./group.ts";
import { groupNames } from "./groups.ts";
import { Hints } from "./hints.ts";
import { hostProcesses, type Processes } from "../kit/host_process.ts";
import { Slots } from "../kit/slots.ts";

/** The number of files that one provider has open at once for heartbeats, and as many for everything else. */
const MAX_OPEN_FILES = 16;

/** The options of a provider beside its directory. */
export interface FileProviderOptions {
  /** See {@linkcode FileOptions.heldBy}. @default nobody */
  readonly heldBy?: (() => readonly number[]) | undefined;
  /** The facts about processes that can be proved. @default those of this host */
  readonly processes?: Processes;
  /** See {@linkcode FileOptions.durable}. @default true */
  readonly durable?: boolean;
}

/** Leases in files. `providers/file.ts` says what it promises. */
export class FileProvider implements Provider {
  readonly name = "file";
  readonly capabilities: ProviderCapabilities;
  readonly #surroundings: GroupSurroundings;
  readonly #groups = new Map<string, Group>();
  readonly #hints: Hints;

  /** Opens the directory `root`, without I/O. */
  constructor(root: string, clock: Clock, files: Files, options: FileProviderOptions = {}) {
    const { heldBy = () => [], processes = hostProcesses, durable = true } = options;
    this.capabilities = {
      ...{ watch: true, transfer: true, timeAuthority: "host", minTimeout: 100 },
      durability: durable
        ? "Leases and tokens survive crashes and power failures; removing the directory forgets them."
        : "Leases and tokens survive crashes of processes. A power failure may forget tokens, so that they come again.",
    };
    // Apart, so that heartbeats never wait behind the looks of thousands of followers.
    const [heartbeats, others] = [new Slots(MAX_OPEN_FILES), new Slots(MAX_OPEN_FILES)];
    this.#surroundings = { root, clock, files, processes, heldBy, heartbeats, others, durable };
    this.#hints = new Hints(root, clock, (electionGroup) => this.#group(electionGroup));
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    return this.#call("acquire", signal, () => this.#group(request.electionGroup).acquire(request, signal));
  }

  renew(lease: Lease, { signal, metadata }: RenewOptions): Promise<"renewed" | "lost"> {
    return this.#call("renew", signal, () => this.#group(lease.electionGroup).renew(lease, metadata, signal));
  }

  release(
    { electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">,
    { signal, transferTo = "" }: ReleaseCallOptions,
  ): Promise<"released" | "notHolder"> {
    return this.#call("release", signal, () => this.#group(electionGroup).release(termId, transferTo, signal));
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    return this.#call("read", signal, () => this.#group(electionGroup).read());
  }

  watch(electionGroup: string, { signal }: CallOptions): AsyncIterable<Hint> {
    return this.#hints.watch(electionGroup, signal);
  }

  groups({ signal }: CallOptions): Promise<string[]> {
    const { root, files } = this.#surroundings;
    return this.#call("groups", signal, () => groupNames(root, files, signal));
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    const { root, files } = this.#surroundings;
    return this.#call("healthCheck", signal, () => probe(root, files, signal));
  }

  inspect({ signal }: CallOptions): Promise<Inspection> {
    const { root } = this.#surroundings;
    return this.#call("healthCheck", signal, async () => ({ version: null, findings: await inspectFileSystem(root) }));
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#hints.close();
    return Promise.resolve();
  }

  #group(electionGroup: string): Group {
    let group = this.#groups.get(electionGroup);
    if (group === undefined) {
      group = new Group(electionGroup, this.#surroundings);
      this.#groups.set(electionGroup, group);
    }
    return group;
  }

  #call<T>(operation: ProviderOperation, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return callBackend(this.name, operation, this.#surroundings.root, signal, () => explainFile(work()));
  }
}
