/**
 * Defects of what the core shares: calls, options, timers, streams. Those of an election itself stand in
 * `../mutants.ts`.
 */

import type { ProviderMutant } from "../provider_mutant.ts";

/** Changes one file, and is to be noticed by one test file. */
type Change = readonly [name: string, find: string, replace: string];

/** By the file that is changed and the one that must notice. */
const CHANGES: readonly (readonly [file: string, test: string, changes: readonly Change[]])[] = [
  ["src/call.ts", "tests/call_test.ts", [
    ["a call that ignores its abort", "return await abortable(work(), signal);", "return await work();"],
    ["a call that is made although it was given up before", "  signal.throwIfAborted();\n", ""],
    [
      "an aborted call rejects with what its driver made of the abort",
      "if (signal.aborted) throw signal.reason;",
      "",
    ],
    [
      "a listener stays on the signal of each call",
      "work.then((answer) => (unlisten(), resolve(answer)),",
      "work.then((answer) => resolve(answer),",
    ],
    ["an unhandled rejection of a call that was given up before", "      work.catch(() => {});\n", ""],
    ["an error that is ours is wrapped again", "if (cause instanceof ProviderError) return cause;", ""],
    ["metadata that is an array", " || Array.isArray(value)) return {};", ") return {};"],
  ]],
  ["src/call.ts", "tests/values_test.ts", [
    [
      "errors of drivers with their passwords",
      "redact(reasonOf(cause))",
      "reasonOf(cause)",
    ],
    ["metadata that is not text", 'typeof entry[1] === "string"', 'typeof entry[1] !== "object"'],
    ["garbage in the record is an error", "    return {};\n  }\n}", "    throw new TypeError();\n  }\n}"],
  ]],
  ["src/redact.ts", "tests/values_test.ts", [
    ["passwords of a URL up to the first @", ":\\S*@", ":[^@]*@"],
    ["tokens shown", "?token|auth)", "?tokken|auth)"],
    ["secrets of connection strings that have blanks", '    .replace(IN_STRING, "$1$2$3***")\n', ""],
    ["secrets in queries up to the first semicolon", '    .replace(IN_QUERY, "$1$2$3***")\n', ""],
  ]],
  ["src/registry.ts", "tests/registry_test.ts", [
    ["schemes told by their case", '.toLowerCase() ?? ""', ' ?? ""'],
    ["the last provider of a name counts", ".join()) return;", ".join()) return void registry.set(name, definition);"],
    ["a scheme can be taken twice", "if (owner) throw", "if (!owner) continue; if (owner.name === name) throw"],
    ["a registry of one's own for each copy", ")[REGISTRY] ??= new Map());", ")[REGISTRY] = new Map());"],
    ["passwords in the error about an unknown target", 'provider "${redact(target)}"', 'provider "${target}"'],
    [
      "a matcher asked before the schemes",
      "findByScheme(scheme) ?? providers().find((each) => each.matches?.(target));",
      "providers().find((each) => each.matches?.(target)) ?? findByScheme(scheme);",
    ],
    ["options that do not reach the provider", "definition.open(target, options)", "definition.open(target, {})"],
  ]],
  ["src/options.ts", "tests/options_test.ts", [
    [
      "timing without regard to the slow call",
      "if (!(heartbeatInterval + requestTimeout < validFor))",
      "if (!(heartbeatInterval < validFor))",
    ],
    [
      "timing that is just not safe",
      "heartbeatInterval + requestTimeout < validFor",
      "heartbeatInterval + requestTimeout <= validFor",
    ],
    [
      "a clock may run twice as fast",
      '"clockRateError", options.clockRateError ?? 0.001, 0, 0.5',
      '"clockRateError", options.clockRateError ?? 0.001, 0, 1.5',
    ],
    ["101 entries of metadata", "entries.length > 100", "entries.length > 101"],
    ["half characters in metadata", "!key.isWellFormed() || ", ""],
    ["metadata that its owner changes afterwards", "return Object.freeze(copy);", "return metadata;"],
    [
      "names with a line feed at their end",
      "/^[A-Za-z0-9_.-]{1,255}$/.test(name)",
      "/^[A-Za-z0-9_.-]{1,255}$/m.test(name)",
    ],
  ]],
  ["src/time/timer_queue.ts", "tests/timer_queue_test.ts", [
    ["timers of a round fire in it again", " || first.round === this.#round", ""],
    [
      "a callback that throws stops the queue",
      "    } finally {\n      this.#firing = false;\n      this.#arm();\n    }",
      "    } finally {\n    }\n    this.#firing = false;\n    this.#arm();",
    ],
    ["a jump of the wall clock brings nothing forward", "    this.#missed += jumped;\n", ""],
    ["a jump is noticed when the timer was due anyway", "    this.#armedFor += jumped;\n", ""],
    ["each small drift is a jump", "if (jumped <= JUMP_MS) return;", "if (jumped <= 0) return;"],
    ["sleeps as long as it likes", "Math.min(first.due, now + MAX_SLEEP_MS)", "first.due"],
    [
      "what is cleared from the middle of the heap disturbs it",
      "      this.#siftUp(last);\n      this.#siftDown(last);\n",
      "      this.#siftUp(last);\n",
    ],
    ["a cleared timer keeps the clock's", "if (!this.#firing && this.#heap.length === 0) this.#arm();", ""],
    ["timers that may be early are late", "Math.floor(due / earlyMs)", "Math.ceil(due / earlyMs)"],
    ["a pause that leaves its listener", '    signal.removeEventListener("abort", wake);\n', ""],
    ["a pause that outlasts its signal", "const wake = () => (timer.clear(), resume());", "const wake = () => {};"],
    ["the heap's order of children", "right.due < left.due ? right : left", "right.due < left.due ? left : right"],
  ]],
  ["src/changes/hub.ts", "tests/changes_test.ts", [
    [
      "subscribed at the first read",
      "this.#subscriptions.add(subscription);",
      "void Promise.resolve().then(() => this.#subscriptions?.add(subscription));",
    ],
    [
      "changes that change nothing",
      'if (change.type === "changed" && isSameTerm(change.previous, change.current)) return;',
      "",
    ],
    [
      "types that are not asked for",
      "if (this.#types !== undefined && !this.#types.includes(change.type)) return;",
      "",
    ],
    ["a stream that was left stays in the hub", "    this.#onLeave(this);\n", ""],
    ["a listener on the caller's signal", "    this.#unlisten();\n", ""],
    [
      "a stream of a closed hub that waits",
      "    if (this.#closed) {\n      subscription.end();",
      "    if (this.#closed) {\n      subscription.next();",
    ],
    [
      "what is queued is lost at the end",
      "const value = this.#backlog.take();",
      "const value = this.#ended ? undefined : this.#backlog.take();",
    ],
    [
      "an aborted stream ends as if all were well",
      "    if (this.#failure === null) reader.resolve(DONE);",
      "    if (this.#failure !== undefined) reader.resolve(DONE);",
    ],
  ]],
  ["src/changes/backlog.ts", "tests/changes_test.ts", [
    ["a backlog without a bound", "++this.#transitions > this.#maxTransitions", "++this.#transitions > Infinity"],
    ["the count of transitions is not kept", "if (transitionOf(change) !== null) this.#transitions--;", ""],
    ["the newest is forgotten", "const begin = this.#changes.findIndex(", "const begin = this.#changes.findLastIndex("],
    ["changes in a row are not merged", "    this.#mergeAt(this.#changes.length - 1);\n", ""],
    ["merged changes tell of the second alone", "previous: first.previous", "previous: second.previous"],
  ]],
  ["src/changes/stream.ts", "tests/operators_test.ts", [
    ["reads at the same time overtake each other", "this.#lastRead.then(() => this.#read())", "this.#read()"],
    [
      "an operator that is refused leaves its stream open",
      "      void this.return();\n      throw error;",
      "      throw error;",
    ],
    [
      "an error in a callback leaves the stream open",
      "      await this.return();\n      throw error;",
      "      throw error;",
    ],
    ["a stream that does not know that its participant leads", "this.#leading = result.value.becameLeader;", ""],
    ["a value for somebody who has left", "if (result.done || this.#closed) return", "if (result.done) return"],
  ]],
  ["src/changes/operators.ts", "tests/operators_test.ts", [
    ["take() one too many", "++index >= count, count === 0", "index++ >= count, count === 0"],
    ["take(0) reads", "++index >= count, count === 0", "++index >= count"],
    ["drop() one too many", "(_, index) => index >= count", "(_, index) => index > count"],
    [
      "the last value leaves the source open",
      "    if (ended) await source.return();\n    return result;",
      "    return result;",
    ],
    ["distinct compares loosely", "!Object.is(last.key, key)", "last.key != key"],
    ["distinct does not wait for its key", "const key = await keyOf(value);", "const key = keyOf(value);"],
    ["a term ends with the next", "(change) => change.lostLeadership)", "(change) => change.becameLeader)"],
    ["a visit is not waited for", "await visit(result.value, index++);", "void visit(result.value, index++);"],
    [
      "a callback that throws leaves its source",
      "  } finally {\n    await source.return();\n  }\n}\n\n/** Calls the callback",
      "  } finally {\n  }\n}\n\n/** Calls the callback",
    ],
  ]],
  ["src/changes/windows.ts", "tests/windows_test.ts", [
    [
      "throttle drops the last of a window",
      "return this.#held.length > 0 ? this.#opensAt : Infinity;",
      "return this.#held.length > 1 ? this.#opensAt : Infinity;",
    ],
    [
      "throttle counts from when it was due",
      "this.#opensAt = now + this.#windowMs;",
      "this.#opensAt = Math.max(this.#opensAt, 0) + this.#windowMs;",
    ],
    [
      "debounce delays each value anew, a `lost` too",
      'if (transitionOf(value) === "lost") this.#latest',
      "if (transitionOf(value) === null) this.#latest",
    ],
    ["debounce forgets what was due", "    if (this.due <= now) return;\n", ""],
    [
      "one array for all batches",
      "    this.#held = [];\n",
      "    queueMicrotask(() => batch.length = 0);\n    this.#held = [];\n",
    ],
    ["a batch without a bound", "return this.#held.length >= this.#count;", "return false;"],
    ["a `lost` that vanishes in a window", "if (transition !== null && held.length > 3)", "if (held.length > 1)"],
    ["a window that holds everything", 'held.splice(transitionOf(held[0]) === "lost" ? 1 : 0, 2);', ";"],
    [
      "a timer is left behind",
      "    this.#cancelTimer();\n    this.#cancelTimer = () => {};",
      "    this.#cancelTimer = () => {};",
    ],
    ["what is held is lost at the end", "(this.#ended || due <= now)", "due <= now"],
    [
      "an early timer of the runtime delivers nothing",
      "this.#serve(Math.max(due, this.#clock.monotonic()))",
      "this.#serve(this.#clock.monotonic())",
    ],
    [
      "a reader that left is still read for",
      "    this.#end(null);\n    await this.#source.return();",
      "    this.#end(null);",
    ],
  ]],
  ["src/time/duration.ts", "tests/values_test.ts", [
    ["durations longer than a timer", "ms > 2 ** 31 - 1", "ms > 2 ** 32"],
    ["minutes of a hundred seconds", "m: 60_000", "m: 100_000"],
    ["durations with something after them", "(ms|s|m|h)$/", "(ms|s|m|h)/"],
  ]],
  ["src/time/backoff.ts", "tests/backoff_test.ts", [
    [
      "a back-off that grows for ever",
      "Math.min(retryMaxDelay, retryBaseDelay * 2 ** Math.min(failures, 30))",
      "retryBaseDelay * 2 ** Math.min(failures, 30)",
    ],
    ["a back-off of nothing", "(0.1 + 0.9 * random())", "random()"],
    ["looks in phase", "interval * (1 - random() / 4)", "interval"],
    ["retries without a pause in between", "failures % (options.maxRetryAttempts + 1)", "Math.min(failures, 1)"],
  ]],
  ["src/time/clock.ts", "tests/clock_test.ts", [
    ["timers that overflow", "Math.min(Math.max(delayMs, 0), MAX_TIMER_MS)", "delayMs"],
    ["a cancelled timer fires", "return () => clearTimeout(handle);", "return () => void handle;"],
    [
      "a sleep that leaves its timer when it is aborted",
      "      cancel();\n      reject(signal?.reason);",
      "      reject(signal?.reason);",
    ],
    [
      "a sleep that leaves its listener",
      '      signal?.removeEventListener("abort", onAbort);\n      resolve();',
      "      resolve();",
    ],
    ["a sleep that has been aborted before", "if (signal?.aborted) return reject(signal.reason);", ""],
    [
      "time elapsed by the clock that is behind",
      "return Math.max(clock.monotonic()",
      "return Math.min(clock.monotonic()",
    ],
  ]],
  ["src/participant/waiters.ts", "tests/waiters_test.ts", [
    ["a wait that looks later only", "      if (now !== null) return resolve(now);\n", ""],
    ["a wait whose signal has aborted before", "if (signal?.aborted) return reject(signal.reason);", ""],
    ["a wait that leaves its listener", '        signal?.removeEventListener("abort", onAbort);\n', ""],
    ["a wait that stays when it is over", "        this.#waiters.delete(waiter);\n", ""],
    [
      "a race that waits for its work",
      "if (value === null) return false;",
      "if (value === null || value !== null) return false;",
    ],
    [
      "a race that leaves its wait behind",
      "work.catch(() => {}).finally(() => give.abort());",
      "work.catch(() => {});",
    ],
  ]],
  ["src/participant/leader_view.ts", "tests/leader_view_test.ts", [
    [
      "a leader that never expires",
      "return expiresIn > 0 ? { ...seen, expiresIn } : null;",
      "return { ...seen, expiresIn };",
    ],
    ["a remaining time that stands still", "seen.expiresIn - elapsedSince(this.#clock, this.#at)", "seen.expiresIn"],
    [
      "a leader seen again is as old as before",
      "    this.#at = instant(this.#clock);\n    this.#vacantSince",
      "    if (this.#seen?.termId !== known) this.#at = instant(this.#clock);\n    this.#vacantSince",
    ],
    [
      "the same participant in another term is the same leader",
      "const known = this.#seen?.termId;",
      "const known = this.#seen?.leaderId === leader?.leaderId ? leader?.termId : this.#seen?.termId;",
    ],
    ["a term that is over when it is first seen is told of", "leader.expiresIn <= 0;", "leader.expiresIn < -1e9;"],
  ]],
];

/** All of them. */
export const MUTANTS: readonly ProviderMutant[] = CHANGES.flatMap(([file, test, changes]) =>
  changes.map(([name, find, replace]) => ({ name, file, find, replace, test: { file: test } }))
);
