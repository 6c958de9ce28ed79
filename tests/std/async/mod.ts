/**
 * Stands in for `jsr:@std/async`, where JSR cannot be reached: the same code, from npm, with types of its own. It has
 * only what is used here.
 *
 * @module
 */

import { deadline as untypedDeadline } from "npm:deno-std@1.4.0/async/deadline.js";
import { delay as untypedDelay } from "npm:deno-std@1.4.0/async/delay.js";

/** Resolves after `ms` milliseconds, and rejects when `signal` aborts. */
export const delay: (ms: number, options?: { signal?: AbortSignal; persistent?: boolean }) => Promise<void> =
  untypedDelay;

/** Resolves as `promise` does, and rejects with a `TimeoutError` if that takes longer than `ms` milliseconds. */
export const deadline: <T>(promise: Promise<T>, ms: number, options?: { signal?: AbortSignal }) => Promise<T> =
  untypedDeadline;
