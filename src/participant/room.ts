/**
 * Where participants of one process wait that share a provider and a group: a look of one answers for all of them.
 *
 * An answer that is shared decides when the others look, and what they show; the lease itself is granted by nothing but
 * an `acquire` of one's own. So it cannot make two lead, and it puts off a look by no more than its own answer would.
 *
 * @module
 */

import type { LeaderInfo, Provider } from "../provider.ts";

/** One who waits. */
export interface Occupant {
  /** Somebody has just seen `leader`. */
  tell(leader: LeaderInfo): void;
  /** The lease has just been given back: for the participant `transferTo`, or for all. */
  invite(transferTo?: string): void;
}

/** News of one term that are younger than this, in milliseconds, are told only to those who are about to look. */
const FRESH_MS = 100;

const rooms = new WeakMap<Provider, Map<string, Room>>();

/** The participants that wait for one group by one provider. There is one as long as anybody waits. */
export class Room {
  readonly #occupants = new Set<Occupant>();
  readonly #eager = new Set<Occupant>();
  #told: { readonly termId: string; readonly at: number } | null = null;

  /** Returns the room, if anybody is in it. */
  static find(provider: Provider, electionGroup: string): Room | undefined {
    return rooms.get(provider)?.get(electionGroup);
  }

  /** Enters the room; the function returned leaves it. */
  static enter(provider: Provider, electionGroup: string, occupant: Occupant): { room: Room; leave: () => void } {
    let byGroup = rooms.get(provider);
    if (byGroup === undefined) rooms.set(provider, byGroup = new Map());
    let room = byGroup.get(electionGroup);
    if (room === undefined) byGroup.set(electionGroup, room = new Room());
    const { entered, all } = { entered: room, all: byGroup };
    entered.#occupants.add(occupant);
    const leave = () => {
      entered.#occupants.delete(occupant);
      entered.#eager.delete(occupant);
      if (entered.#occupants.size === 0) all.delete(electionGroup);
    };
    return { room: entered, leave };
  }

  /** Returns the place of one who is about to look because of a hint: how many are that came before. */
  queue(occupant: Occupant): number {
    const place = this.#eager.size;
    this.#eager.add(occupant);
    return place;
  }

  /** Somebody who was about to look is not any more. */
  unqueue(occupant: Occupant): void {
    this.#eager.delete(occupant);
  }

  /** Tells all who wait of the leader that one has seen, at the monotonic time `now`. */
  tell(leader: LeaderInfo, now: number): void {
    const isNews = this.#told?.termId !== leader.termId || now - this.#told.at >= FRESH_MS;
    if (isNews) this.#told = { termId: leader.termId, at: now };
    for (const occupant of [...isNews ? this.#occupants : this.#eager]) occupant.tell(leader);
  }

  /** Tells all who wait that the lease has been given back. */
  invite(transferTo?: string): void {
    for (const occupant of [...this.#occupants]) occupant.invite(transferTo);
  }
}
