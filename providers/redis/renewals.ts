/**
 * Renewals: one by a script call of its own, many by one that decides each by itself.
 *
 * @module
 */

import type { Lease, RenewOptions } from "../../src/provider.ts";
import { TELL_RENEWALS_BELOW_MS } from "../kit/hint_stream.ts";
import { JoinedCalls } from "../kit/joined_calls.ts";
import { listOf, outcomeOf } from "./answers.ts";
import { messageOf } from "./link.ts";
import type { RedisParts } from "./parts.ts";
import { RENEW, RENEW_MANY } from "./scripts.ts";

/** The outcome of a renewal. */
type Outcome = "renewed" | "lost";

/** The leases of one call: it keeps the server from all others for about half a millisecond. */
const MOST = 100;

/**
 * The refusals of a call for the sake of one of its keys: of a cluster behind one address, and of a user who may touch
 * some groups only. The server has run nothing.
 */
const OF_ONE_KEY = /\b(CROSSSLOT|NOPERM)\b/;

/** Renews the leases of one provider. */
export class RedisRenewals {
  readonly #parts: RedisParts;
  readonly #joined: JoinedCalls<Lease, Outcome>;
  /** False where one call cannot have the keys of two groups. */
  #joins: boolean;

  /** Renews by the connections of `parts`. */
  constructor(parts: RedisParts) {
    this.#parts = parts;
    // In a cluster the keys of two groups are in two slots.
    this.#joins = parts.groupsKey !== null;
    this.#joined = new JoinedCalls({
      most: MOST,
      hasLocks: false,
      key: ({ electionGroup, termId }) => `${electionGroup} ${termId}`,
      alone: (lease, signal) => this.#alone(lease, { signal }),
      together: (due, signal) => this.#together(due(), signal),
      spares: (error) => {
        const isOfOne = OF_ONE_KEY.test(messageOf(error));
        if (isOfOne) this.#joins = false;
        return isOfOne;
      },
    });
  }

  /** Renews a lease: with others that are due, unless it has metadata. */
  renew(lease: Lease, options: RenewOptions): Promise<Outcome> {
    if (!this.#joins || options.metadata !== undefined) return this.#alone(lease, options);
    return this.#joined.ask(lease, options.signal);
  }

  async #alone(lease: Lease, { signal, metadata }: RenewOptions): Promise<Outcome> {
    const { electionGroup, termId, heartbeatTimeout } = lease;
    const { commands, keyOf, sightings } = this.#parts;
    const renewal = async (version: string) => {
      const args = [termId, heartbeatTimeout, version, this.#channelOf(lease)];
      if (metadata) args.push(JSON.stringify(metadata));
      const { answer, sentAt } = await commands.run(signal, RENEW, [keyOf(electionGroup)], args);
      const list = listOf(answer);
      sightings.see(electionGroup, list[1], [], sentAt);
      return { outcome: outcomeOf(list, { 0: "lost", 1: "renewed", 2: "over" }), version: String(list[2]) } as const;
    };
    const first = await renewal("");
    // Its time is over by a clock that has just been stepped, so that nobody may go by it. It is still ours.
    const isCredible = first.outcome !== "over" || !sightings.distrusts(electionGroup, heartbeatTimeout);
    if (isCredible) return first.outcome === "renewed" ? "renewed" : "lost";
    return (await renewal(first.version)).outcome === "renewed" ? "renewed" : "lost";
  }

  /** Leases that are neither renewed nor another's are left open: a call of their own knows what to make of them. */
  async #together(leases: readonly Lease[], signal: AbortSignal): Promise<ReadonlyMap<Lease, Outcome>> {
    const { commands, keyOf, sightings } = this.#parts;
    const keys = leases.map(({ electionGroup }) => keyOf(electionGroup));
    const args = leases.flatMap((lease) => [lease.termId, lease.heartbeatTimeout, this.#channelOf(lease)]);
    const { answer, sentAt } = await commands.run(signal, RENEW_MANY, keys, args);
    const [stamp, ...outcomes] = listOf(answer);
    const settled = new Map<Lease, Outcome>();
    for (const [place, lease] of leases.entries()) {
      const outcome = outcomeOf([outcomes[place]], { 0: "lost", 1: "renewed", 2: "open", 3: "open" });
      if (outcome === "open") continue;
      sightings.see(lease.electionGroup, stamp, [], sentAt);
      settled.set(lease, outcome);
    }
    return settled;
  }

  #channelOf({ electionGroup, heartbeatTimeout }: Lease): string {
    return heartbeatTimeout < TELL_RENEWALS_BELOW_MS ? this.#parts.channelOf(electionGroup) : "";
  }
}
