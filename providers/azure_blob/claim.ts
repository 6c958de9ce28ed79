/**
 * The beginning of a term: who leads is asked for, and where nobody does, the lease is claimed and said to be ours.
 *
 * @module
 */

import type { Acquired, AcquireRequest, Held, Lease } from "../../src/provider.ts";
import { describe, type GroupBlob, leaseSeconds, type Look, type TermRecord, toLease } from "./group_blob.ts";

/** The number of times that a call tries again when the blob has changed under it. */
export const ATTEMPTS = 5;

/** Asks for the lease of a group. */
export async function askFor(request: AcquireRequest, blob: GroupBlob): Promise<Acquired | Held> {
  const { known } = blob;
  let look = known === undefined ? await blob.look() : await blob.confirm(known);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    look ??= await blob.create();
    const isOurs = look?.record?.termId === request.termId;
    if (look?.isHeld && !isOurs) return { acquired: false, leader: describe(look) };
    const begin = (seen: Look) => isOurs ? resume(request, seen, blob) : claim(request, seen, blob);
    const begun = look === null ? "changed" : await begin(look);
    if (typeof begun === "object") return { acquired: true, lease: begun };
    if (begun === "ended") return { acquired: false, leader: null };
    look = await blob.look();
    // Somebody has the lease and has not said who: the claim is under way, or was given up and will run out.
    if (begun === "held" && look?.isHeld === false) return { acquired: false, leader: null };
  }
  throw new Error("the blob changes all the time");
}

/**
 * Begins a term:
 * 1. take the lease, with the `termId` for its id. From its holder, Azure takes that for a renewal.
 * 2. Under the lease nobody else writes. So if the ETag is the one that was seen, so is the rest; else look again.
 * 3. Write the record and its token, on condition of the lease and the ETag.
 *
 * A lease that is gone before step 3 was released by somebody who knew the term: it is not taken again, since what
 * was released stays free until it is asked for anew.
 *
 * One that was given up on after step 1 runs out by itself. Until then the record is that of another term, which has
 * the lease no more, and so is not reported (see `GroupBlob.look`). One that was given up on in step 3, and is
 * carried out late, finds another ETag or another lease, or is the same term's own claim, which asks again and finds
 * it.
 */
async function claim(
  request: AcquireRequest,
  seen: Look,
  blob: GroupBlob,
): Promise<Lease | "held" | "changed" | "ended"> {
  const { electionGroup, participantId, termId, heartbeatTimeout, metadata } = request;
  const taken = await blob.take(termId, leaseSeconds(heartbeatTimeout));
  if (typeof taken === "string") return taken;
  const look = taken.etag === seen.etag ? seen : await blob.download(termId);
  if (look === null) return "ended";
  if (look.record?.termId === termId) return await keep(request, look, look.record, blob);
  // Also a blob that was deleted and made anew gets a token beyond all before, since Azure's clock has gone on.
  const acquiredAt = taken.date ?? new Date(0);
  const now = BigInt(acquiredAt.getTime());
  const token = look.token < now ? now : look.token + 1n;
  const record = { participantId, termId, token, acquiredAt, heartbeatTimeout, metadata };
  if (await blob.write(record, look.etag)) return toLease(electionGroup, record);
  return await blob.renew(termId) === null ? "ended" : "changed";
}

/**
 * Finds that the term of `seen` has begun: its lease can be renewed, also when it has expired, since nobody has
 * written after it. One that was given back cannot. Then its record is emptied first: if this call were given up on
 * after it had taken the lease again, that would be taken for the grant which has ended.
 */
async function resume(request: AcquireRequest, seen: Look, blob: GroupBlob): Promise<Lease | "changed"> {
  const { termId } = request;
  const renewed = await blob.renew(termId);
  if (renewed === null) {
    await blob.clear(seen);
    return "changed";
  }
  const look = renewed.etag === seen.etag ? seen : await blob.download(termId);
  return look?.record?.termId === termId ? await keep(request, look, look.record, blob) : "changed";
}

/** Returns the lease of a term that has it, as `look` shows. */
async function keep(
  request: AcquireRequest,
  look: Look,
  record: TermRecord,
  blob: GroupBlob,
): Promise<Lease | "changed"> {
  const { electionGroup, metadata } = request;
  blob.remember({ ...look, isHeld: true });
  const isSame = JSON.stringify(record.metadata) === JSON.stringify(metadata);
  const isKept = isSame || await blob.write({ ...record, metadata }, look.etag);
  return isKept ? toLease(electionGroup, record) : "changed";
}
