/**
 * Runs the scripts: on the server that has the key, once, and for nobody who has gone.
 *
 * @module
 */

import type { Clock } from "../../src/time/clock.ts";
import { messageOf } from "./link.ts";
import type { Pace } from "./pace.ts";
import type { Redirection, Router } from "./router.ts";
import type { Script } from "./scripts.ts";

/** The number of times that a command may be sent on by servers that have not carried it out. */
const MAX_HOPS = 5;

/** After one of these the server cannot be, or soon will not be, the primary that keeps the lease: look for it anew. */
const DEMOTED = /\b(READONLY|MASTERDOWN|LOADING|CLUSTERDOWN|MOVED)\b/;

/** The answer of a server, and our monotonic clock before the question went out. */
export interface Answer {
  readonly answer: unknown;
  readonly sentAt: number;
}

/** Runs scripts over a router. */
export class Commands {
  readonly #router: Router;
  readonly #pace: Pace;
  readonly #clock: Clock;
  readonly #isOver: () => boolean;
  readonly #onDemoted: (error: unknown) => void;
  #isClosed = false;

  /**
   * `isOver` says whether the owner of an injected client has closed it. `onDemoted` is told when a server has turned
   * out to be no primary any more.
   */
  constructor(
    router: Router,
    pace: Pace,
    clock: Clock,
    isOver: () => boolean,
    onDemoted: (error: unknown) => void,
  ) {
    this.#router = router;
    this.#pace = pace;
    this.#clock = clock;
    this.#isOver = isOver;
    this.#onDemoted = onDemoted;
  }

  /** Finds servers and makes connections. Throws when there are to be none any more. */
  get router(): Router {
    if (this.#isClosed) throw new Error("the provider is closed");
    if (this.#isOver()) {
      // A connection that was opened in the client's name ends with it, and nothing is opened again.
      this.#router.close();
      throw new Error("the redis client was closed by its owner");
    }
    return this.#router;
  }

  /**
   * Runs a script: by its digest, or, where the server has not seen it since it started, by its text. A server that
   * does not know the digest, or that has not the key, has not run it; so sending it again is the first time.
   */
  async run(signal: AbortSignal, script: Script, keys: string[], args: (string | number)[]): Promise<Answer> {
    const [key = ""] = keys;
    const { router } = this;
    // Without waiting where that is possible: what is sent in one turn of the event loop travels together.
    let target: Redirection = { link: router.ready(key) ?? await router.find(key), asking: false };
    let knows = true;
    for (let hop = 0;; hop++) {
      // Nothing is sent for a caller who has gone while a connection was made.
      signal.throwIfAborted();
      const sentAt = this.#clock.monotonic();
      try {
        return { answer: await evaluate(target, script, knows, keys, args), sentAt };
      } catch (error) {
        const message = messageOf(error);
        const redirected = router.redirect(message, target.link);
        if (redirected === null && DEMOTED.test(message)) {
          target.link.close(error);
          this.#onDemoted(error);
        }
        if (hop === MAX_HOPS || (redirected === null && !message.startsWith("NOSCRIPT"))) throw error;
        if (redirected === null) knows = false;
        else target = await redirected;
      }
    }
  }

  /** Takes note that a caller gave up: a server that has been silent all that time is left. */
  gaveUp(): void {
    if (!this.#isClosed) this.#router.suspect(this.#pace.suspicionMs);
  }

  /** Closes all connections, for good. Calls under way fail. */
  close(): void {
    this.#isClosed = true;
    this.#router.close();
  }
}

/** The names are in capitals, under which nobody registers transformers of arguments and answers with the driver. */
function evaluate(
  { link, asking }: Redirection,
  { sha, lua }: Script,
  knows: boolean,
  keys: string[],
  args: (string | number)[],
): Promise<unknown> {
  // Its refusal shows in what follows it on the connection.
  if (asking) link.send("ASKING").catch(() => {});
  return link.send(knows ? "EVALSHA" : "EVAL", knows ? sha : lua, keys.length, ...keys, ...args);
}
