/**
 * Changes of leadership to test with.
 *
 * @module
 */

import type { LeadershipChange } from "../src/changes/change.ts";
import { ChangeHub } from "../src/changes/hub.ts";
import type { LeadershipChanges } from "../src/changes/stream.ts";
import type { LeaderInfo } from "../src/provider.ts";
import { VirtualClock } from "../testing/virtual_clock.ts";

/** Returns the leader of the term `termId`: a new object each time, as looks at a backend give. */
export function leader(termId: string): LeaderInfo {
  return {
    leaderId: `participant-${termId}`,
    termId,
    token: 1n,
    leadershipAcquiredAt: new Date(0),
    lastHeartbeat: null,
    metadata: {},
    expiresIn: null,
  };
}

/** This participant began the term `termId`. */
export function acquired(termId: string): LeadershipChange {
  return change({ type: "acquired", current: leader(termId) });
}

/** The term `termId` of this participant ended. */
export function lost(termId: string): LeadershipChange {
  return change({ type: "lost", previous: leader(termId), reason: "expired" });
}

/** This participant saw that not the term `from` but the term `to` leads; null is nobody's. */
export function changed(from: string | null, to: string | null): LeadershipChange {
  return change({
    type: "changed",
    previous: from === null ? null : leader(from),
    current: to === null ? null : leader(to),
  });
}

function change(parts: Pick<LeadershipChange, "type"> & Partial<LeadershipChange>): LeadershipChange {
  const { type } = parts;
  return {
    at: new Date(0),
    previous: null,
    current: null,
    ...parts,
    becameLeader: type === "acquired",
    lostLeadership: type === "lost",
  };
}

/** Writes a change as `+term` (acquired), `-term` (lost) or `from>to` (changed). */
export function show({ type, previous, current }: LeadershipChange): string {
  if (type === "acquired") return `+${current?.termId}`;
  if (type === "lost") return `-${previous?.termId}`;
  return `${previous?.termId ?? ""}>${current?.termId ?? ""}`;
}

/** A hub, its clock, and what one reader got from it, with the time at which it came. */
export function watched<T>(operator: (changes: LeadershipChanges) => LeadershipChanges<T>, leading = false) {
  const clock = new VirtualClock();
  const hub = new ChangeHub(clock);
  const stream = operator(hub.subscribe({ leading }));
  const got: { readonly value: T; readonly at: number }[] = [];
  const over = stream.forEach((value) => got.push({ value, at: clock.monotonic() }));
  return { clock, hub, stream, got, over };
}

/** Returns numbers from 0 up to 1, the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let bits = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Returns `length` changes as an election may publish them: `acquired` and `lost` alternate, others lead in between.
 */
export function history(length: number, next: () => number, leading: boolean): LeadershipChange[] {
  const changes: LeadershipChange[] = [];
  let mine = leading ? "mine0" : null;
  let other: string | null = null;
  for (let index = 1; index <= length; index++) {
    if (mine !== null) {
      changes.push(lost(mine));
      mine = other = null;
    } else if (next() < 0.4) {
      changes.push(acquired(mine = `mine${index}`));
    } else {
      const to: string | null = other === null || next() < 0.5 ? `other${index}` : null;
      changes.push(changed(other, to));
      other = to;
    }
  }
  return changes;
}
