/**
 * The Lease of one group, for the length of one call: looks at it, and the steps of a term, each conditional on a look.
 *
 * @module
 */

import { permanently } from "../../src/call.ts";
import type { AcquireRequest } from "../../src/provider.ts";
import type { Clock } from "../../src/time/clock.ts";
import { type ApiClient, TooLargeError } from "./client.ts";
import { begun, type LeaseObject, released, renewed, tokenOf } from "./lease_object.ts";
import type { Look, Looks } from "./looks.ts";
import { groupOf, nameOf } from "./names.ts";

/** The parts that the groups of a provider share. */
export interface LeaseParts {
  readonly client: ApiClient;
  readonly looks: Looks;
  readonly clock: Clock;
  /** Returns the namespace. */
  namespace(): Promise<string>;
  /** Is told of metadata that the API server does not take with a renewal. */
  onTooLarge(electionGroup: string, error: TooLargeError): void;
}

/** The most attempts of a call, when the Lease changes under it. */
export const ATTEMPTS = 10;

/** Returns the path of the Leases of a namespace. */
export function pathOf(namespace: string): string {
  return `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
}

/** The Lease of one group. Its methods reject when the signal of the call aborts, and send nothing from then on. */
export class GroupLease {
  readonly #electionGroup: string;
  readonly #parts: LeaseParts;
  readonly #signal: AbortSignal;
  readonly #name: string;

  constructor(electionGroup: string, parts: LeaseParts, signal: AbortSignal) {
    this.#electionGroup = electionGroup;
    this.#parts = parts;
    this.#signal = signal;
    this.#name = nameOf(electionGroup);
  }

  /** The Lease as it was last seen. */
  get known(): Look | undefined {
    return this.#parts.looks.get(this.#electionGroup);
  }

  /** Looks at the Lease as it is now. Without a resource version, the server answers from etcd, not from its cache. */
  async look(): Promise<Look> {
    const { status, json } = await this.#call("get");
    if (status === 404) return this.#parts.looks.see(this.#electionGroup, null);
    return this.#see(json);
  }

  /**
   * Begins a term, in one write that is conditional on a look that `isFree`: that there still is no Lease, or that it
   * still has the version that was seen. So neither another acquire nor a heartbeat of the old holder can have come in
   * between; a heartbeat that comes later finds a version that is gone, and fails. The version of this write is the
   * token. Returns null if something was written since.
   */
  async take(request: AcquireRequest, look: Look): Promise<Look | null> {
    const body = begun(request, look, this.#parts.clock.wall());
    if (look.version !== "") return await this.#patch(body);
    const { status, json } = await this.#call("create", body);
    if (status === 404) throw permanently(new Error("there is no such namespace"));
    return status === 409 ? null : this.#see(json);
  }

  /**
   * Writes a heartbeat, conditional on the version of `look`. If that still stands, nobody has taken over, released or
   * deleted anything since. If our last answer was lost, the version is newer than we know: the caller looks again,
   * finds its own term, and comes back with the new version. An old heartbeat that is still under way then fails.
   *
   * @param token that of the term, if the caller knows it: other programs may have moved the version since
   */
  async beat(
    look: Look,
    metadata: Readonly<Record<string, string>> | undefined,
    token?: bigint,
  ): Promise<Look | null> {
    const { term } = look;
    if (term === null) return null;
    // A term that expired, and asked again, has begun anew: a token of before then is that of no term any more.
    const isCurrent = token !== undefined && token > term.after;
    const next = { ...term, token: term.token ?? (isCurrent ? token : tokenOf(look)), beat: term.beat + 1 };
    // Metadata for which there is no room beside the annotations of others must not cost the lease: it then keeps what
    // it had, or, if that has become too much by others, none.
    for (const carried of new Set([metadata, undefined, {}])) {
      try {
        return await this.#patch(renewed(look, next, this.#parts.clock.wall(), carried));
      } catch (error) {
        const isLast = carried !== undefined && carried !== metadata;
        if (!(error instanceof TooLargeError) || isLast) throw error;
        this.#parts.onTooLarge(this.#electionGroup, error);
      }
    }
    throw new Error("there is no room for a term in the annotations");
  }

  /**
   * Ends the term that `look` shows, on condition of its version, so that no late write of this term comes after. The
   * Lease stays, and with it the token. Returns null if something was written since.
   */
  empty(look: Look, by: string = crypto.randomUUID(), transferTo = ""): Promise<Look | null> {
    return this.#patch(released(look, this.#parts.clock.wall(), by, transferTo));
  }

  /**
   * Gives the Lease of a term back. Returns whether it had it. An API server that loses its etcd in the middle of a
   * write tries again by itself, and then refuses what it has written: so a refused release looks for its own name.
   */
  async giveBack(termId: string, transferTo?: string): Promise<boolean> {
    const by = crypto.randomUUID();
    // Also if its time is over: a record that is not given back holds up those who have not seen it stand still.
    const isDone = (look: Look) => look.releasedBy === by ? look : null;
    return await this.change(termId, (look) => this.empty(look, by, transferTo), isDone) !== null;
  }

  /**
   * Does `step` on the record of a term until it succeeds: as it was last seen, if the term had the lease then, else as
   * it is. The verdict that the term has no lease takes a look: returns what `gone` makes of it, null by default.
   */
  async change<T>(
    termId: string,
    step: (look: Look) => Promise<T | null>,
    gone: (look: Look) => T | null = () => null,
  ): Promise<T | null> {
    let look = this.known;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (look === undefined || !this.#parts.looks.isHeldBy(look, termId)) look = await this.look();
      if (look.term?.termId !== termId) return gone(look);
      const done = await step(look);
      if (done !== null) return done;
      look = undefined;
    }
    throw new Error("the Lease changes all the time");
  }

  async #patch(body: Record<string, unknown>): Promise<Look | null> {
    const { status, json } = await this.#call("patch", body);
    return status === 200 ? this.#see(json) : null;
  }

  #see(lease: LeaseObject): Look {
    const { name, annotations } = lease.metadata;
    if (groupOf(name, annotations ?? {}) !== this.#electionGroup) {
      throw permanently(new Error(`the Lease "${name}" says that it is another group's`));
    }
    return this.#parts.looks.see(this.#electionGroup, lease);
  }

  async #call(verb: "get" | "create" | "patch", body?: Record<string, unknown>) {
    const { client, namespace } = this.#parts;
    const path = pathOf(await namespace());
    return await client.call<LeaseObject>({
      verb,
      path: verb === "create" ? path : `${path}/${this.#name}`,
      signal: this.#signal,
      ...(body !== undefined && { body }),
    });
  }
}
