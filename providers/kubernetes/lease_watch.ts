/**
 * One watch for all groups of a provider: the Leases of its namespace, or, while one group alone is watched, that one.
 *
 * @module
 */

import { setImmediate } from "node:timers/promises";
import { permanently } from "../../src/call.ts";
import type { Hint } from "../../src/provider.ts";
import type { Clock } from "../../src/time/clock.ts";
import { HintStream, TELL_RENEWALS_BELOW_MS } from "../kit/hint_stream.ts";
import type { ApiClient } from "./client.ts";
import { pathOf } from "./group_lease.ts";
import type { LeaseObject } from "./lease_object.ts";
import type { Look, Looks } from "./looks.ts";
import { groupOf, nameOf } from "./names.ts";

/** The longest time that the server keeps a watch, in seconds. */
const WATCH_SECONDS = 300;
/**
 * A watch on which nothing has come for half of a lease is made again, which shows whether the server is still there:
 * a connection may have died without a word. Not sooner and not later than this, in milliseconds; the server itself
 * sends a bookmark every minute.
 */
const [MIN_SILENCE_MS, MAX_SILENCE_MS] = [1_000, 75_000];
/** The server may take this long to begin one, in milliseconds: a quarter of a lease, and no longer than this. */
const MAX_OPENING_MS = 10_000;
/** A watch that the server ends sooner than this, in milliseconds, is broken: made again at once, it would spin. */
const MIN_WATCH_MS = 1_000;

/** The parts of its provider that the watch needs. */
export interface WatchParts {
  readonly client: ApiClient;
  readonly looks: Looks;
  readonly clock: Clock;
  /** Returns the namespace. */
  namespace(): Promise<string>;
}

/** Somebody who watches a group. */
interface Follower {
  readonly electionGroup: string;
  readonly hints: HintStream;
  /** The state of the group that the last hint was about. */
  state: string;
  /** True if the stream that runs now is known to show the group. */
  isLive: boolean;
}

/** An event of a watch. */
interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: LeaseObject & { readonly code?: number; readonly message?: string };
}

/** Why a stream ended that is not broken. */
class Ended extends Error {}
const WIDENED = new Ended("another group is watched too");
const SILENT = new Ended("nothing has come for long");
const LEFT = new Ended("nobody watches any more");
const EXPIRED = new Ended("the version is too old");

/** The watch of a provider. It runs while somebody follows a group. */
export class LeaseWatch {
  readonly #parts: WatchParts;
  readonly #followers = new Map<string, Set<Follower>>();
  #stream: AbortController | null = null;
  /** The one group that the stream shows; null if it shows all. */
  #only: string | null = null;
  /** True if it is there. */
  #isOpen = false;
  #isRunning = false;
  /** The version behind which the next stream begins; null where it begins with what there is. */
  #version: string | null = null;
  /** The shortest lease that somebody holds in a group that is watched, in milliseconds. */
  #shortest = Infinity;

  constructor(parts: WatchParts) {
    this.#parts = parts;
  }

  /**
   * Yields when the group is watched, and when it is free or another term has it. What is seen, heartbeats too, tells
   * `acquire` for how long the record has stood still.
   *
   * @throws what has broken the stream
   */
  async *follow(electionGroup: string, signal: AbortSignal): AsyncGenerator<Hint, void> {
    const follower: Follower = { electionGroup, hints: new HintStream(null), state: "", isLive: false };
    this.#enter(follower);
    try {
      yield* follower.hints.read(signal);
    } finally {
      this.#leave(follower);
    }
  }

  #enter(follower: Follower): void {
    const { electionGroup } = follower;
    const beside = this.#followers.get(electionGroup) ?? new Set();
    const [live] = [...beside].filter(({ isLive }) => isLive);
    this.#followers.set(electionGroup, beside.add(follower));
    if (!this.#isRunning) void this.#run();
    // A stream that shows the group already, or all of them, is live for whoever comes.
    else if (live !== undefined || (this.#stream !== null && this.#isOpen && this.#only === null)) this.#open(follower);
    else if (this.#stream !== null && this.#only !== null && this.#only !== electionGroup) this.#stream.abort(WIDENED);
  }

  #leave(follower: Follower): void {
    const beside = this.#followers.get(follower.electionGroup);
    beside?.delete(follower);
    if (beside?.size === 0) this.#followers.delete(follower.electionGroup);
    if (this.#followers.size === 0) this.#stream?.abort(LEFT);
  }

  #open(follower: Follower): void {
    follower.isLive = true;
    follower.hints.push();
  }

  *#all(): Generator<Follower> {
    for (const beside of this.#followers.values()) yield* beside;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    try {
      // Followers that come together share a stream from the beginning.
      await setImmediate();
      while (this.#followers.size > 0) await this.#followOnce();
    } catch (error) {
      for (const follower of this.#all()) follower.hints.fail(error);
      // They leave; whoever comes again begins anew.
      this.#followers.clear();
    } finally {
      this.#isRunning = false;
      this.#version = null;
    }
  }

  /** One stream, from its beginning to its end. What it misses, the next one shows, from the same version on. */
  async #followOnce(): Promise<void> {
    const { client, clock } = this.#parts;
    const controller = this.#stream = new AbortController();
    const { signal } = controller;
    const [first, second] = this.#followers.keys();
    this.#only = second === undefined && first !== undefined ? first : null;
    this.#shortest = Infinity;
    for (const electionGroup of this.#followers.keys()) this.#noteLease(this.#parts.looks.get(electionGroup));
    const startedAt = clock.monotonic();
    const query: Record<string, string> = {
      watch: "1",
      allowWatchBookmarks: "true",
      timeoutSeconds: String(WATCH_SECONDS),
      ...(this.#only !== null && { fieldSelector: `metadata.name=${nameOf(this.#only)}` }),
      ...(this.#version !== null && { resourceVersion: this.#version }),
    };
    let cancel = clock.setTimer(
      () => controller.abort(new Error("the API server does not answer")),
      Math.min(Math.max(this.#shortest / 4, MIN_SILENCE_MS), MAX_OPENING_MS),
    );
    const listen = () => {
      cancel();
      const silenceMs = Math.min(Math.max(this.#shortest / 2, MIN_SILENCE_MS), MAX_SILENCE_MS);
      cancel = clock.setTimer(() => controller.abort(SILENT), silenceMs);
    };
    try {
      const path = pathOf(await this.#parts.namespace());
      const status = await client.follow({ verb: "watch", path, query, signal }, {
        open: () => {
          listen();
          this.#begin();
        },
        bytes: listen,
        line: (json) => this.#note(json as WatchEvent),
      });
      if (status === 410) throw EXPIRED;
      if (clock.monotonic() - startedAt < MIN_WATCH_MS) throw new Error("the API server ends the watch at once");
    } catch (error) {
      if (!(error instanceof Ended)) throw error;
      // The server has forgotten what came after our version: the next stream begins with what there is.
      if (error === EXPIRED) {
        if (query.resourceVersion === undefined) throw new Error("the API server has forgotten what it has just shown");
        this.#version = null;
      }
    } finally {
      cancel();
      this.#stream = null;
      this.#isOpen = false;
    }
  }

  /** The stream is there. Whoever was not watched before, or may have missed something, should look. */
  #begin(): void {
    this.#isOpen = true;
    const hasGap = this.#version === null;
    for (const follower of this.#all()) {
      const isShown = this.#only === null || this.#only === follower.electionGroup;
      if (isShown && (hasGap || !follower.isLive)) this.#open(follower);
    }
  }

  #note({ type, object }: WatchEvent): void {
    if (type === "ERROR") {
      if (object.code === 410) throw EXPIRED;
      const error = new Error(`the watch failed: ${object.code} ${object.message}`);
      throw object.code === 403 ? permanently(error) : error;
    }
    const { name, resourceVersion, annotations } = object.metadata;
    this.#version = resourceVersion;
    if (type === "BOOKMARK") return;
    const electionGroup = groupOf(name, annotations ?? {});
    const followers = this.#followers.get(electionGroup ?? "");
    if (electionGroup === null || followers === undefined) return;
    const look = this.#parts.looks.hear(electionGroup, object, type === "DELETED");
    if (look === null) return;
    this.#noteLease(look);
    const state = look.holder === "" ? `free since ${resourceVersion}` : look.term?.termId ?? `held by ${look.holder}`;
    // At the beginning a stream shows what is there, which may have been given back long ago.
    const transferTo = type === "MODIFIED" ? look.transferTo : "";
    const leader = this.#parts.looks.describe(look) ?? undefined;
    const isShort = (this.#parts.looks.leaseOf(look) ?? Infinity) < TELL_RENEWALS_BELOW_MS;
    const news: Hint = leader ? { leader } : transferTo === "" ? {} : { transferTo };
    for (const follower of followers) {
      if (follower.state !== state) follower.hints.push(news);
      else if (leader && isShort) follower.hints.push({ renewed: leader });
      follower.state = state;
    }
  }

  #noteLease(look: Look | undefined): void {
    const lease = look === undefined || look.holder === "" ? null : this.#parts.looks.leaseOf(look);
    if (lease !== null) this.#shortest = Math.min(this.#shortest, lease);
  }
}
