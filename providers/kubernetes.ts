/**
 * Elections on Kubernetes: `k8s:///` in a pod, `k8s://host:port/namespace?ca=FILE&token=FILE`, or
 * `k8s+http://127.0.0.1:8001/namespace` by `kubectl proxy`. Importing this module registers both schemes.
 *
 * Each group is one Lease (`coordination.k8s.io/v1`), in the format of client-go's `LeaseLock`: programs that elect by
 * client-go and the participants of an election exclude each other, and follow each other.
 *
 * - **Token**: the resource version of the write that acquired. It is the revision of the cluster's etcd, which grows
 *   with every write to any object: across release, expiry, a Lease that was deleted, and restarts.
 * - **Clock**: the monotonic clock of whoever waits. A heartbeat rewrites the record; one that stands still for the
 *   lease of its holder, and 0.1 % more, is taken over. `renewTime` is the holder's, for people, and is compared with
 *   nothing.
 * - **Not promised**: tokens that grow when a cluster was set up anew without its Leases. And towards a program that
 *   elects by client-go, that it has no identity which is also a `participantId`: to client-go, that is itself.
 * - **A heartbeat** costs one write to etcd, a merge patch of some 400 bytes; and one event to every provider that
 *   watches the group.
 * - **Round trips**: `acquire` one if this provider has seen the Lease free, by a hint for example, else two; lost,
 *   one. Renewing, releasing and reading: one. Waiting and losing write nothing.
 *
 * One watch serves all groups of a provider. It shows the Leases of the namespace, or, while one group alone is
 * watched, that one.
 *
 * @module
 */

import { callBackend } from "../src/call.ts";
import type { ProviderOperation } from "../src/errors.ts";
import { type Logger, tell } from "../src/logger.ts";
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
} from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { type Clock, systemClock } from "../src/time/clock.ts";
import { CATALOG } from "./catalog.ts";
import { openConnections } from "./kit/http_agent.ts";
import { exchange } from "./kit/http_exchange.ts";
import { JoinedRenewals } from "./kit/joined_renewals.ts";
import { checkOptions } from "./kit/parameters.ts";
import { ApiClient, type KubernetesRequest } from "./kubernetes/client.ts";
import { ATTEMPTS, GroupLease, type LeaseParts, pathOf } from "./kubernetes/group_lease.ts";
import { inspectServer } from "./kubernetes/inspection.ts";
import { LABEL, type LeaseObject } from "./kubernetes/lease_object.ts";
import { LeaseWatch } from "./kubernetes/lease_watch.ts";
import { leaseIn, Looks } from "./kubernetes/looks.ts";
import { groupOf } from "./kubernetes/names.ts";
import { checkPermissions } from "./kubernetes/permissions.ts";
import { parseKubernetesUrl, parseNamespace, podNamespace } from "./kubernetes/target.ts";
import { TokenFile } from "./kubernetes/token_file.ts";

export type { KubernetesRequest } from "./kubernetes/client.ts";

/** The settings to reach Kubernetes. */
export interface KubernetesOptions {
  /**
   * One of
   * - `k8s:///`: in a pod, by its service account, in its namespace; `k8s:///namespace` in another one;
   * - `k8s://host:port/namespace?token=FILE&ca=FILE`, where port (6443), namespace (`default`) and settings may be left
   *   out; `cert`, `key` and `servername` are settings too. Certificates are read for each new connection, the token
   *   each minute;
   * - `k8s+http://host:port/namespace`, without encryption, for `kubectl proxy` (port 8001);
   * - with `request`: `k8s:///namespace`.
   *
   * @default "k8s:///"
   */
  readonly url?: string | URL | undefined;
  /**
   * Makes the requests, each once, without retrying. Where credentials come from a kubeconfig, for example.
   *
   * @default connections of the provider's own, by `node:https`
   */
  readonly request?: KubernetesRequest | undefined;
  /** Measures for how long a record stands still. @default the clock of the machine */
  readonly clock?: Clock | undefined;
  /** Is told of metadata that the API server refuses. @default nobody */
  readonly logger?: Logger | undefined;
}

const OPTIONS: readonly (keyof KubernetesOptions)[] = ["url", "request", "clock", "logger"];
/** The number of Leases that `groups()` asks for at a time. */
const PAGE = 500;

/**
 * Opens a provider that keeps leases in Kubernetes.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { kubernetesProvider } from "@multilock/core/kubernetes";
 *
 * await using provider = kubernetesProvider({ url: "k8s+http://127.0.0.1:8001/elections" });
 * assert(provider.name === "kubernetes");
 * ```
 *
 * @throws {TypeError} if the URL is malformed, if it or the options have a setting that is unknown, or if it is for a
 * pod and this is none
 */
export function kubernetesProvider(options: KubernetesOptions = {}): Provider {
  checkOptions("kubernetes", options, OPTIONS);
  const { request, clock = systemClock, logger } = options;
  const url = String(options.url ?? "k8s:///");
  const { client, namespace } = request === undefined
    ? connected(url, clock)
    : { client: new ApiClient({ request, token: null, clock, close() {} }), namespace: parseNamespace(url) };
  const inPod = podNamespace();
  return new KubernetesProvider({
    ...{ client, clock, looks: new Looks(clock) },
    namespace: () => namespace === null ? inPod() : Promise.resolve(namespace),
    onTooLarge: (electionGroup, error) => {
      tell(logger, "warn", "Kubernetes refuses the metadata: the lease is renewed without", { electionGroup, error });
    },
  });
}

/** Makes a client with connections of its own. */
function connected(url: string, clock: Clock): { client: ApiClient; namespace: string | null } {
  const { origin, namespace, tokenFile, tls } = parseKubernetesUrl(url);
  const connections = openConnections(tls);
  const client = new ApiClient({
    request: (path, init) => exchange(connections, new URL(`${origin}${path}`), init),
    token: tokenFile === null ? null : new TokenFile(tokenFile, clock),
    clock,
    close: () => connections.close(),
  });
  return { client, namespace };
}

class KubernetesProvider implements Provider {
  readonly name = "kubernetes";
  readonly capabilities: ProviderCapabilities = {
    watch: true,
    transfer: true,
    timeAuthority: "server",
    minTimeout: 1_000,
    // The API counts seconds in 32 bits.
    maxTimeout: (2 ** 31 - 1) * 1_000,
    durability: "Leases and tokens are in the cluster's etcd, on the disks of a majority of its members.",
  };
  readonly #parts: LeaseParts;
  readonly #watch: LeaseWatch;
  readonly #renewals = new JoinedRenewals();

  constructor(parts: LeaseParts) {
    this.#parts = parts;
    this.#watch = new LeaseWatch(parts);
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    const { electionGroup, termId, heartbeatTimeout } = request;
    const { looks } = this.#parts;
    return this.#callGroup("acquire", electionGroup, signal, async (lease) => {
      let look = lease.known;
      if (look === undefined || !looks.isFree(look, heartbeatTimeout)) look = await lease.look();
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const isOurs = looks.isHeldBy(look, termId);
        // A term that asks again has had no answer: nobody leads by what it left behind.
        const isFree = look.term?.termId === termId || looks.isFree(look, heartbeatTimeout);
        if (!isOurs && !isFree) return { acquired: false, leader: looks.describe(look, heartbeatTimeout) };
        const written = isOurs ? await lease.beat(look, request.metadata) : await lease.take(request, look);
        if (written?.term) return { acquired: true, lease: leaseIn(electionGroup, written, written.term) };
        if (written !== null) throw new Error("the API server did not write what it was given");
        look = await lease.look();
      }
      throw new Error("the Lease changes all the time");
    });
  }

  renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
    return this.#renewals.run(lease.termId, options, (together) => this.#renewOnce(lease, together));
  }

  #renewOnce({ electionGroup, termId, token }: Lease, { signal, metadata }: RenewOptions): Promise<"renewed" | "lost"> {
    const { looks } = this.#parts;
    return this.#callGroup("renew", electionGroup, signal, async (lease) => {
      const outcome = await lease.change(termId, async (look) => {
        if (looks.isHeldBy(look, termId)) return await lease.beat(look, metadata, token) && "renewed";
        // Nobody leads by it, but a late heartbeat may be on its way. It must not revive what is called lost here.
        return await lease.empty(look) && "lost";
      });
      return outcome ?? "lost";
    });
  }

  release(
    { electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">,
    { signal, transferTo }: ReleaseCallOptions,
  ): Promise<"released" | "notHolder"> {
    return this.#callGroup("release", electionGroup, signal, async (lease) => {
      return await lease.giveBack(termId, transferTo) ? "released" : "notHolder";
    });
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    const { looks } = this.#parts;
    return this.#callGroup("read", electionGroup, signal, async (lease) => {
      const look = await lease.look();
      return looks.hasStoodStill(look) ? null : looks.describe(look);
    });
  }

  async *watch(electionGroup: string, { signal }: CallOptions): AsyncIterable<Hint> {
    const hints = this.#watch.follow(electionGroup, signal);
    try {
      while (!signal.aborted) {
        const { done, value } = await this.#call("watch", electionGroup, signal, () => hints.next());
        if (done) return;
        yield value;
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      await hints.return(undefined);
    }
  }

  groups({ signal }: CallOptions): Promise<string[]> {
    const { client, namespace } = this.#parts;
    return this.#call("groups", LABEL, signal, async () => {
      const groups: string[] = [];
      let next: string | undefined;
      do {
        const { status, json } = await client.call<LeaseList>({
          verb: "list",
          path: pathOf(await namespace()),
          query: { labelSelector: LABEL, limit: String(PAGE), ...(next !== undefined && { continue: next }) },
          signal,
        });
        if (status !== 200) throw new Error(`${status}: the list was not to be had`);
        const found = json.items.map(({ metadata }) => groupOf(metadata.name, metadata.annotations ?? {}));
        groups.push(...found.filter((group) => group !== null));
        next = json.metadata.continue || undefined;
      } while (next !== undefined);
      return groups;
    });
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    const { client, namespace } = this.#parts;
    return this.#call("healthCheck", "API server", signal, async () => {
      await checkPermissions(client, await namespace(), signal);
    });
  }

  inspect({ signal }: CallOptions): Promise<Inspection> {
    const { client, namespace } = this.#parts;
    return this.#call("healthCheck", "API server", signal, async () => {
      return await inspectServer(client, await namespace(), signal);
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#parts.client.close();
    return Promise.resolve();
  }

  #callGroup<T>(
    operation: ProviderOperation,
    electionGroup: string,
    signal: AbortSignal,
    work: (lease: GroupLease) => Promise<T>,
  ): Promise<T> {
    return this.#call(operation, electionGroup, signal, () => work(new GroupLease(electionGroup, this.#parts, signal)));
  }

  #call<T>(operation: ProviderOperation, thing: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return callBackend(this.name, operation, thing, signal, work);
  }
}

/** A page of Leases. */
interface LeaseList {
  readonly items: readonly LeaseObject[];
  readonly metadata: { readonly continue?: string };
}

registerProvider({
  ...CATALOG.kubernetes,
  open: (url, { clock, logger }) => kubernetesProvider({ url, clock, logger }),
});
