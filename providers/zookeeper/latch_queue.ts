/**
 * The participants that wait, and their places in the queue. A participant has a place while it campaigns (its last
 * `acquire` was answered *held*) and a watch of it is open.
 *
 * **Watches.** A place watches the node that stands first, the leader's, and not the one before itself: whoever waits
 * is to know who leads. It becomes first no later by that, since all before it, the first among them, must be gone by
 * then. When the first goes, everybody wakes, but nobody lists the group for that: each reads the next of the names
 * that it knows to be before it, one small node. While that one has not claimed its place, the record is watched too,
 * which the claim writes; later it is not, since it also changes with the leader's metadata. So a change of the leader
 * costs every waiter two events and a few reads, the least there is if all are to learn of it, and a place in the queue
 * that is given up costs the others nothing.
 *
 * **Claims.** A place that has become first must be claimed soon: until then nobody leads. A participant that does not
 * ask for the lease in time (it cools down, or is not healthy) gives its place up, and gets a new one, at the end, when
 * it asks again. So no participant blocks a group, however it came to stop campaigning. In time is what it has shown to
 * need: between a hint and the `acquire` that follows from it the caller may ask whether it is healthy, which may take
 * seconds.
 *
 * @module
 */

import { abortable } from "../../src/call.ts";
import type { Hint, LeaderInfo } from "../../src/provider.ts";
import type { Clock } from "../../src/time/clock.ts";
import { inOrder } from "./latch.ts";
import { type LatchNode, latchNode } from "./latch_node.ts";
import type { LatchSession } from "./latch_session.ts";
import { noteReaction, patienceFor, type Place, placeOf } from "./place.ts";
import { ErrorCode, exists, getChildren, getData, isError, type Operation } from "./protocol.ts";

/**
 * The finding of a look at the queue: that the lease may be free; who holds it, in words that change with the holder,
 * and as others see it where that was read; that it has to look again, since a node was gone.
 */
type Finding = "free" | "gone" | { readonly heldBy: string; readonly leader?: LeaderInfo | null };

/** Participants that were answered *held* and never watch are forgotten beyond this number. */
const MAX_REMEMBERED = 100_000;

/** The queues of all groups, as far as participants of this provider stand in them. */
export class LatchQueue {
  readonly #clock: Clock;
  readonly #places = new Map<string, Place>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Takes the waiting node of a participant, to claim the lease with it; it is not the queue's any more.
   *
   * @throws the reason of `signal`, if it has aborted meanwhile: then nothing is taken
   */
  async claim(
    group: string,
    participantId: string,
    session: LatchSession,
    signal: AbortSignal,
  ): Promise<LatchNode | null> {
    const place = this.#places.get(keyOf(group, participantId));
    if (place === undefined) return null;
    noteReaction(place, this.#clock.monotonic());
    if (place.session !== session) {
      // It waits in a session with another timeout, which would not fit the lease.
      this.#giveUp(place);
      return null;
    }
    if (place.taking !== null) {
      await place.taking.catch(() => {});
      signal.throwIfAborted();
    }
    const { node } = place;
    // From here to the end nothing is awaited: of two that claim for one participant, one gets the node.
    place.claimedInTime();
    if (node === null) return null;
    place.node = null;
    place.claiming = place.claimed = node;
    return node;
  }

  /** Takes note that the participant leads with `node`, and so waits no more. */
  won(node: LatchNode): void {
    const place = this.#places.get(keyOf(node.group, node.participantId));
    if (place === undefined) return;
    this.#giveUp(place);
    place.claimed = node;
    this.#wakeMissed(place);
  }

  /**
   * Takes note that `node` is not first: it goes on waiting, or goes. Resolves when that is done, and never rejects.
   */
  lost(node: LatchNode, session: LatchSession): Promise<void> {
    const place = this.#placeOf(node.group, node.participantId);
    if (place.claimed === node) place.claimed = null;
    place.session = session;
    if (node.kind === "place" && node.created !== null && place.watches > 0 && place.node === null) {
      place.node = node;
      if (place.claiming === node) place.claiming = null;
      this.#wakeMissed(place);
      return Promise.resolve();
    }
    if (place.claiming === node) place.claiming = null;
    const gone = session.doom(node);
    for (const wake of place.wake) wake();
    return gone;
  }

  /** Takes note that `session` has ended, and all nodes in it with it. */
  forget(session: LatchSession): void {
    for (const place of this.#places.values()) {
      if (place.session === session) {
        place.session =
          place.node =
          place.claiming =
          place.claimed =
            null;
      }
    }
  }

  /**
   * Yields when the lease may be free: to a participant when it is first, or who leads, when that has changed; to an
   * observer when the first has changed.
   */
  async *watch(
    group: string,
    participantId: string | undefined,
    anySession: () => LatchSession,
    signal: AbortSignal,
  ): AsyncIterable<Hint> {
    const place = participantId === undefined ? null : this.#placeOf(group, participantId);
    if (place !== null) place.watches++;
    let attachedTo: LatchSession | undefined;
    let attachments = 0;
    let heldBy: string | null = null;
    try {
      while (!signal.aborted) {
        const change = Promise.withResolvers<void>();
        const changed = () => change.resolve();
        place?.wake.add(changed);
        signal.addEventListener("abort", changed, { once: true });
        const session = place?.session ?? anySession();
        try {
          await abortable(session.client.reconnected(signal), signal);
          const times = session.client.attachments;
          const finding = place?.session === session
            ? await this.#stand(place, session, changed, signal)
            : await this.#observe(session, group, place, changed, signal);
          if (finding === "gone") continue;
          // The watch was registered before the hint is given, so nothing that comes after it is missed; what came
          // before may have been, when it is the first on this connection.
          const isReconnected = attachedTo !== session || attachments !== times;
          [attachedTo, attachments] = [session, times];
          const isFree = finding === "free";
          if (isFree || finding.heldBy !== heldBy || isReconnected) {
            heldBy = isFree ? null : finding.heldBy;
            const leader = isFree ? null : finding.leader;
            // Nobody asks for the lease who is told that another has it.
            if (place !== null && !leader) place.hintedAt ??= this.#clock.monotonic();
            // A place finds it free when it has become first, and no other place does then.
            yield leader ? { leader } : isFree && place !== null ? { waiting: 1 } : {};
          }
          await change.promise;
        } catch (error) {
          // Lost in the middle of a look: the session is taken to another server, and the place goes with it.
          if (!isError(error, ErrorCode.connectionLoss)) throw error;
        } finally {
          // Later events of nodes that were looked at here are of no interest any more.
          session.client.forget(changed);
          place?.wake.delete(changed);
          signal.removeEventListener("abort", changed);
        }
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      if (place !== null) this.#leave(place);
    }
  }

  /** Takes a place if there is none, and watches the one that stands first; the own one, once that is first. */
  async #stand(place: Place, session: LatchSession, changed: () => void, signal: AbortSignal): Promise<Finding> {
    if (place.claiming !== null) return await this.#standAside(place, place.claiming, session, changed, signal);
    if (place.node === null) {
      place.taking ??= this.#take(place, session).finally(() => place.taking = null);
      await place.taking;
    }
    const node = place.node;
    const path = node?.created?.path;
    if (node === null || path === undefined) return "gone";
    const head = await session.head(node, signal, changed);
    if (head) return { heldBy: `${head.name} ${head.leader?.termId ?? ""}`, leader: head.leader };
    if (head === undefined || !(await isThere(session, getData(path, true), changed, signal))) {
      if (place.node === node) place.node = null;
      return "gone";
    }
    // It was claimed meanwhile.
    if (place.node !== node) return "gone";
    node.first = true;
    place.claimedInTime();
    place.claimedInTime = this.#clock.setTimer(() => {
      if (place.node === node) this.#giveUp(place);
      changed();
    }, patienceFor(place.reactionMs, session.client.sessionTimeout));
    return "free";
  }

  /** Waits for what becomes of a claim: whether the node is a place again, stands for a term, or is deleted. */
  async #standAside(
    place: Place,
    node: LatchNode,
    session: LatchSession,
    changed: () => void,
    signal: AbortSignal,
  ): Promise<Finding> {
    const path = node.created?.path;
    if (path !== undefined && await isThere(session, getData(path, true), changed, signal)) {
      if (place.claiming !== node) return "gone";
      place.hasMissed = true;
      return { heldBy: path };
    }
    if (place.claiming === node) place.claiming = null;
    return "gone";
  }

  #wakeMissed(place: Place): void {
    if (!place.hasMissed) return;
    place.hasMissed = false;
    for (const wake of place.wake) wake();
  }

  /** Watches the own node of a participant that leads; else who is first, and what the record says of it. */
  async #observe(
    session: LatchSession,
    group: string,
    place: Place | null,
    changed: () => void,
    signal: AbortSignal,
  ): Promise<Finding> {
    const claimed = place?.claimed?.created?.path;
    if (place !== null && claimed !== undefined) {
      if (await isThere(session, getData(claimed, true), changed, signal)) return { heldBy: claimed };
      place.claimed = null;
    }
    const directory = session.directory(group);
    const [head] = inOrder(await session.list(group, signal));
    if (head === undefined) return await this.#observeEmpty(session, directory, changed, signal);
    const [there] = await Promise.all([
      isThere(session, getData(`${directory}/${head}`, true), changed, signal),
      // Not read: the record may be long, and who gets the hint reads it anyway.
      isThere(session, exists(directory, true), changed, signal),
    ]);
    return there ? "free" : "gone";
  }

  async #observeEmpty(
    session: LatchSession,
    directory: string,
    changed: () => void,
    signal: AbortSignal,
  ): Promise<Finding> {
    try {
      const names = await session.client.call(getChildren(directory, true), signal, changed);
      return names.length > 0 ? "gone" : "free";
    } catch (error) {
      if (!isError(error, ErrorCode.noNode)) throw error;
      return await isThere(session, exists(directory, true), changed, signal) ? "gone" : "free";
    }
  }

  async #take(place: Place, session: LatchSession): Promise<void> {
    const node = latchNode(place.group, place.participantId, "place", crypto.randomUUID());
    try {
      await session.create(node, place.over.signal);
    } catch (error) {
      void session.doom(node);
      throw error;
    }
    if (place.session === session && place.node === null && !place.over.signal.aborted) place.node = node;
    else void session.doom(node);
  }

  #giveUp(place: Place): void {
    place.claimedInTime();
    if (place.node !== null) void place.session?.doom(place.node);
    place.session = place.node = place.claiming = null;
  }

  #leave(place: Place): void {
    if (--place.watches > 0) return;
    this.#places.delete(keyOf(place.group, place.participantId));
    this.#giveUp(place);
    place.over.abort();
  }

  #placeOf(group: string, participantId: string): Place {
    const key = keyOf(group, participantId);
    let place = this.#places.get(key);
    if (place === undefined) {
      if (this.#places.size >= MAX_REMEMBERED) this.#forgetOne();
      place = placeOf(group, participantId);
      this.#places.set(key, place);
    }
    return place;
  }

  #forgetOne(): void {
    for (const [key, { watches }] of this.#places) {
      if (watches > 0) continue;
      this.#places.delete(key);
      return;
    }
  }
}

function keyOf(group: string, participantId: string): string {
  return `${group}/${participantId}`;
}

/** Makes a look that leaves a watch; false when there is nothing to look at. */
async function isThere(
  session: LatchSession,
  look: Operation<unknown>,
  changed: () => void,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await session.client.call(look, signal, changed);
    return true;
  } catch (error) {
    if (isError(error, ErrorCode.noNode)) return false;
    throw error;
  }
}
