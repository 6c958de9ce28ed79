/**
 * What lives from one `start` of a participant to the next `stop`.
 *
 * @module
 */

import type { Lookout } from "./lookout.ts";
import type { Acquired, Held } from "./provider.ts";

/** One session. */
export interface Session {
  /** Aborts when the session is to end. */
  readonly stopped: AbortController;
  readonly lookout: Lookout;
  /** Resolves when the first look has come to an end, well or badly. */
  readonly ready: PromiseWithResolvers<void>;
  /** The one `acquire` that is under way. */
  acquiring: Promise<Acquired | Held> | null;
  /** The term id of an `acquire` whose outcome is unknown. The next asks with it again, so that a grant is not lost. */
  unanswered: string | null;
}

/** Opens a session that looks with `lookout`. */
export function openSession(lookout: Lookout): Session {
  return {
    stopped: new AbortController(),
    lookout,
    ready: Promise.withResolvers<void>(),
    acquiring: null,
    unanswered: null,
  };
}

/** Calls `stop` when `signal` aborts, as long as the session lasts. */
export function stopWhen(signal: AbortSignal, session: Session, stop: () => void): void {
  signal.addEventListener("abort", stop, { once: true });
  session.stopped.signal.addEventListener("abort", () => signal.removeEventListener("abort", stop), { once: true });
}
