/**
 * The signals that ask a process to end.
 *
 * @module
 */

import process from "node:process";

const ENDING = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

/** Calls `handler` with every signal that asks this process to end, until it is disposed of. */
export function onEndingSignal(handler: (signal: NodeJS.Signals) => void): Disposable {
  const listeners = ENDING.map((signal) => [signal, () => handler(signal)] as const);
  for (const [signal, listener] of listeners) process.on(signal, listener);
  return {
    [Symbol.dispose](): void {
      for (const [signal, listener] of listeners) process.off(signal, listener);
    },
  };
}
