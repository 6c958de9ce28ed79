/** Defects of a participant that the simulation cannot tell, or not soon: its unit tests must. */

import type { ProviderMutant } from "../provider_mutant.ts";

const CAMPAIGN = "src/participant/campaign.ts";
const HEARTBEAT = "src/participant/heartbeat.ts";
const PARTICIPANT = "src/participant/participant.ts";
const WORK = "src/participant/work.ts";
const PROVIDER = "src/participant/bounded_provider.ts";
const REQUESTS = "tests/election_requests_test.ts";

/** Each must be noticed by the unit tests. */
export const MUTANTS: readonly ProviderMutant[] = [
  {
    name: "run() returns before its lease is released",
    file: WORK,
    find: "      await host.release(cooldownMs, term);\n      if (!result.ok)",
    replace: "      void host.release(cooldownMs, term);\n      if (!result.ok)",
    test: { file: REQUESTS, filter: "run() returns after" },
  },
  {
    name: "the listener of run() on the caller's signal stays",
    file: WORK,
    find: '    signal?.removeEventListener("abort", release);\n',
    replace: "",
    test: { file: REQUESTS, filter: "no call leaves a listener" },
  },
  {
    name: "the listener of start() on the caller's signal stays",
    file: CAMPAIGN,
    find: '() => signal.removeEventListener("abort", stop)',
    replace: "() => {}",
    test: { file: REQUESTS, filter: "no call leaves a listener" },
  },
  {
    name: "a start() that was given up leaves its listener",
    file: PARTICIPANT,
    find: 'for (const signal of signals) signal.removeEventListener("abort", this.#stopNow);',
    replace: "",
    test: { file: REQUESTS, filter: "that waits for a stop does not start" },
  },
  {
    name: "the count of failed heartbeats survives a success",
    file: HEARTBEAT,
    find: "      this.#failures = 0;\n",
    replace: "",
    test: { file: REQUESTS, filter: "begins anew" },
  },
  {
    name: "the back-off outlasts the term",
    file: HEARTBEAT,
    find: "return Math.min(backoff(this.#failures++, this.#config), share);",
    replace: "return backoff(this.#failures++, this.#config);",
    test: { file: REQUESTS, filter: "well again before the deadline" },
  },
  {
    name: "updateMetadata() joins one that is on its way, and sends no other",
    file: HEARTBEAT,
    find: "    await this.#sendingMetadata?.catch(() => {});\n",
    replace: "    if (this.#sendingMetadata !== null) return await this.#sendingMetadata;\n",
    test: { file: REQUESTS, filter: "an earlier one was on its way" },
  },
  {
    name: "metadata that failed is not sent again",
    file: HEARTBEAT,
    find: "      this.#scheduleNext(elapsedSince(this.#config.clock, sent));\n      this.#catchUp();",
    replace: "      this.#scheduleNext(elapsedSince(this.#config.clock, sent));",
    test: { file: REQUESTS, filter: "a term outlives metadata" },
  },
  {
    name: "metadata counts as sent before it has arrived",
    file: HEARTBEAT,
    find: "    await this.#renew(metadata);\n    this.#sentMetadata = metadata;",
    replace: "    this.#sentMetadata = metadata;\n    await this.#renew(metadata);",
    test: { file: REQUESTS, filter: "a term outlives metadata" },
  },
  {
    name: "heartbeats depend on metadata",
    file: HEARTBEAT,
    find: "      await this.#renew();\n",
    replace: "      await this.#renew(this.#events.metadata());\n",
    test: { file: REQUESTS, filter: "a term outlives metadata" },
  },
  {
    name: "the quick looks at a vacant group are used up for ever",
    file: "src/participant/lookout.ts",
    find: "    this.#vacantLooks = 0;\n",
    replace: "",
    test: { file: REQUESTS, filter: "looks at a vacant group" },
  },
  {
    name: "a leader goes on watching as a follower",
    file: CAMPAIGN,
    find: "    this.#lookout.unfollow();\n    this.nextLook = null;",
    replace: "    this.nextLook = null;",
    test: { file: REQUESTS, filter: "a leader neither asks nor watches" },
  },
  {
    name: "start({ signal }) on an open election ignores the signal",
    file: PARTICIPANT,
    find: "    for (const signal of signals) campaign.stopWith(signal, this.#stopNow);\n",
    replace: '    for (const signal of signals) signal.removeEventListener("abort", this.#stopNow);\n',
    test: { file: REQUESTS, filter: "stops an election that was open already" },
  },
  {
    name: "start({ signal }) that waits for a stop does not hear its signal",
    file: PARTICIPANT,
    find: '    for (const signal of signals) signal.addEventListener("abort", this.#stopNow, { once: true });\n',
    replace: "",
    test: { file: REQUESTS, filter: "the last word counts" },
  },
  {
    name: "an unhealthy answer that comes after its term steps the next one down",
    file: HEARTBEAT,
    find: "healthy || this.#stopped || this.#events.unhealthy()",
    replace: "healthy || this.#events.unhealthy()",
    test: { file: REQUESTS, filter: "an unhealthy answer" },
  },
  {
    name: "a try is answered by the look that is under way",
    file: CAMPAIGN,
    find: "      for (const attempt of attempts) attempt.resolve(seen);",
    replace: "      for (const attempt of [...attempts, ...this.#attempts.splice(0)]) attempt.resolve(seen);",
    test: { file: REQUESTS, filter: "a look that begins after the call" },
  },
  {
    name: "a release does not wait for what was asked before it",
    file: CAMPAIGN,
    find: 'if (this.#phase.name !== "leading" && only === undefined) {',
    replace: 'if (this.#phase.name === "over") {',
    test: { file: REQUESTS, filter: "comes after a try" },
  },
  {
    name: "a release that fails once is not tried again",
    file: PROVIDER,
    find: "failures >= maxRetryAttempts || elapsedSince",
    replace: "failures >= 0 || elapsedSince",
    test: { file: REQUESTS, filter: "tried again at once" },
  },
  {
    name: "a grant that came too late holds the lease",
    file: CAMPAIGN,
    find: "if (leader !== null && leader.termId === this.#lastTermId) this.#owed = leader.termId;",
    replace: "",
    test: { file: REQUESTS, filter: "a grant that nobody waits for" },
  },
  {
    name: "elect() forgets what it has opened",
    file: "src/elect.ts",
    find: "    if (provider instanceof OwnedProvider) await provider[Symbol.asyncDispose]();\n",
    replace: "",
    test: { file: REQUESTS, filter: "closes what it opened" },
  },
  {
    name: "a leader that was first seen in its last instant is never told of",
    file: "src/participant/leader_view.ts",
    find: "this.#seen = isOver && leader.termId !== known ? null : leader;",
    replace: "this.#seen = leader;",
    test: { file: REQUESTS, filter: "first seen in its last instant" },
  },
  {
    name: "work begins although its signal has aborted",
    file: WORK,
    find: "    if (signal?.aborted) {\n      await host.release(cooldownMs, term);\n      return undefined;\n    }\n",
    replace: "",
    test: { file: REQUESTS, filter: "begins no work" },
  },
];
