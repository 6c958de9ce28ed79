/** What a network does that holds calls back, for a store within the process. */

import type { CallOptions, Lease, Provider } from "../../src/provider.ts";
import type { ConformanceDetour } from "../../testing/conformance.ts";

/** The signal with which calls arrive that were held back: whoever made them may have gone. */
export const LATE: AbortSignal = new AbortController().signal;

/** Returns a detour to what `open` opens. Its clients reach it again, as over a new connection, when it is bypassed. */
export function heldCalls(open: () => Provider): ConformanceDetour {
  const held: (() => Promise<unknown>)[] = [];
  let holding = false;
  function pass<T>(options: CallOptions, call: (options: CallOptions) => Promise<T>): Promise<T> {
    if (!holding) return call(options);
    return new Promise((resolve, reject) => {
      held.push(() => call({ ...options, signal: LATE }).then(resolve, reject));
      options.signal.addEventListener("abort", () => reject(options.signal.reason), { once: true });
    });
  }
  return {
    open() {
      const inner = open();
      return Object.assign(
        Object.create(inner) as Provider,
        {
          acquire: (request, options) => pass(options, (o) => inner.acquire(request, o)),
          renew: (lease, options) => pass(options, (o) => inner.renew(lease, o)),
          release: (lease: Pick<Lease, "electionGroup" | "termId">, options) =>
            pass(options, (o) => inner.release(lease, o)),
          read: (electionGroup, options) => pass(options, (o) => inner.read(electionGroup, o)),
          [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
        } satisfies Partial<Provider>,
      );
    },
    hold: () => Promise.resolve(void (holding = true)),
    bypass: () => Promise.resolve(void (holding = false)),
    async deliver() {
      holding = false;
      await Promise.allSettled(held.splice(0).map((call) => call()));
    },
  };
}
