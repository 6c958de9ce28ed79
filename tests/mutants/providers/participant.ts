/** Defects of a participant that the simulation cannot tell, or not soon: its unit tests must. */

import type { ProviderMutant } from "../provider_mutant.ts";

const CAMPAIGN = "src/participant/campaign.ts";
const HEARTBEAT = "src/participant/heartbeat.ts";
const PARTICIPANT = "src/participant/participant.ts";
const WORK = "src/participant/work.ts";
const PROVIDER = "src/participant/bounded_provider.ts";
const RESTRAINT = "src/participant/restraint.ts";
const REQUESTS = "tests/election_requests_test.ts";
const MISUSE = "tests/election_misuse_test.ts";
const LOOKOUT = "src/participant/lookout.ts";
const HAND_OFF = "tests/hand_off_test.ts";

/** A change, and the test that must notice it. */
type Change = readonly [name: string, file: string, find: string, replace: string, filter: string];

function mutant(test: string, [name, file, find, replace, filter]: Change): ProviderMutant {
  return { name, file, find, replace, test: { file: test, filter } };
}

/** Defects of the hints about who is to lead. */
const PREFERENCE: readonly Change[] = [
  [
    "a delay that counts from the first vacancy ever",
    RESTRAINT,
    "this.#freeSince ?? this.#now : null;",
    "this.#freeSince ?? this.#now : this.#freeSince;",
    "somebody has led in between",
  ],
  [
    "a delay that is over while somebody leads",
    RESTRAINT,
    "this.#freeSince === null ? unknown :",
    "this.#freeSince === null ? 0 :",
    "lets the preferred participant lead",
  ],
  [
    "a delay that the own term leaves behind",
    RESTRAINT,
    "    this.#freeSince = null;\n    this.#madeWayUntil",
    "    this.#madeWayUntil",
    "only puts off",
  ],
  [
    "a delay that lasts until somebody else has led",
    RESTRAINT,
    "this.#freeSince + campaignDelay - this.#now;",
    "campaignDelay;",
    "only puts off",
  ],
  [
    "the one that was named holds back for its own delay",
    RESTRAINT,
    "campaignDelay === 0 || this.#now < this.#invitedUntil",
    "campaignDelay === 0",
    "hands over to the one",
  ],
  [
    "the one that was named makes way, too",
    RESTRAINT,
    "= participantId === this.#config.participantId;",
    "= false;",
    "hands over to the one",
  ],
  ["nobody makes way", RESTRAINT, ", this.#madeWayUntil - this.#now);", ");", "somebody who is not there"],
  [
    "those who wait are not told for whom",
    CAMPAIGN,
    "await this.#payBack(reign.successor);",
    "await this.#payBack();",
    "hands over to the one",
  ],
  [
    "the one that hands over asks at once",
    PARTICIPANT,
    "release(TRANSFER_HOLD_MS, term, to)",
    "release(0, term, to)",
    "somebody who is not there",
  ],
  [
    "a transfer waits for nobody to lead",
    PARTICIPANT,
    "await Promise.race([taken, ",
    "await Promise.race([Promise.resolve(), taken, ",
    "hands over to the one",
  ],
  [
    "a transfer to itself",
    "src/election.ts",
    'checkName("participantId", to) === this.participantId',
    'checkName("participantId", to) === ""',
    "refuses what cannot be",
  ],
];

/** Defects of jobs that run once. */
const JOBS: readonly Change[] = [
  [
    "a job whose term was lost runs again",
    "src/election.ts",
    "endsWithLoss: true",
    "endsWithLoss: false",
    "does not run the job again",
  ],
  ["a lease that is not kept for atLeast", WORK, "  await stays();\n", "", "keeps the lease for atLeast"],
  [
    "a lease that is not kept when work fails",
    WORK,
    "  await stays();",
    "  if (settled.ok) await stays();",
    "keeps the lease for atLeast",
  ],
  [
    "atLeast counts from the end of the work",
    WORK,
    "beganAt = () => begunAt",
    "beganAt = () => clock.monotonic()",
    "counts from the beginning",
  ],
  [
    "a loss while the lease is kept is a loss of the work",
    WORK,
    "  await stays();\n",
    "  await stays();\n  settled = { ...settled, interrupted: why() };\n",
    "changes nothing: it is done",
  ],
  [
    "a wait that never ends",
    WORK,
    "cancel = clock.setTimer(() => over.abort(), waitMs);",
    "cancel = () => {};",
    "waits as long as it was told",
  ],
  ["one that does not wait does not ask", WORK, "if (waitMs === 0) return", "if (waitMs < 0) return", "asks at once"],
  ["exclusive() does not leave", "src/exclusive.ts", "    await election.stop();", "", "runs the job once"],
  [
    "exclusive() asks again what it was told",
    "src/exclusive.ts",
    "if (waitMs === 0 && ",
    "if (waitMs < 0 && ",
    "runs the job once",
  ],
  [
    "who leads is not asked for, when nobody was known to",
    "src/election.ts",
    'if (run.outcome !== "held" || run.leader !== null) return run;',
    "if (run) return run;",
    "rejects when the backend cannot be asked",
  ],
];

/** Each must be noticed by the unit tests. */
export const MUTANTS: readonly ProviderMutant[] = [
  ...PREFERENCE.map((each) => mutant("tests/preference_test.ts", each)),
  ...JOBS.map((each) => mutant("tests/exclusive_test.ts", each)),
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
    find: '  signal?.removeEventListener("abort", release);\n',
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
    find: 'for (const signal of signals) signal.removeEventListener("abort", stopNow);',
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
    find: '    for (const signal of signals) signal.addEventListener("abort", stopNow, { once: true });\n',
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
    find: "const isFinal = failures >= maxRetryAttempts ||",
    replace: "const isFinal = failures >= 0 ||",
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
    find:
      '    if (signal?.aborted) {\n      await host.release(cooldownMs, term);\n      return { outcome: "aborted" };\n    }\n',
    replace: "",
    test: { file: REQUESTS, filter: "begins no work" },
  },
  {
    name: "a start() that gives up takes the listener of another",
    file: PARTICIPANT,
    find: "const stopNow = () => this.#stopNow();",
    replace: "const stopNow = this.#stopNow;",
    test: { file: MISUSE, filter: "when another start gives up" },
  },
  {
    name: "the signal of the options is not heard before the first start",
    file: PARTICIPANT,
    find: '    else config.signal?.addEventListener("abort", this.#stopNow, { once: true });\n',
    replace: "",
    test: { file: MISUSE, filter: "that was never started" },
  },
  {
    name: "an election whose signal had aborted waits for ever",
    file: PARTICIPANT,
    find: "if (config.signal?.aborted) this.#stopNow();",
    replace: "if (config.signal?.aborted) return;",
    test: { file: MISUSE, filter: "that was never started" },
  },
  {
    name: "a run goes on in a campaign that began after its stop",
    file: WORK,
    find: '    if (host.stops !== stops) throw host.refusal("run", "it was stopped");\n',
    replace: "",
    test: { file: MISUSE, filter: "a run ends with the stop" },
  },
  {
    name: "what work returned after a stop is lost, when its term had ended before",
    file: WORK,
    find: "signal?.aborted || host.stops !== stops) {",
    replace: 'signal?.aborted || result.interrupted === "stopped") {',
    test: { file: MISUSE, filter: "a run ends with the stop" },
  },
  {
    name: "stop() does not wait for the work of a term that has expired",
    file: CAMPAIGN,
    find: "if (this.#draining > 0) await this.#drain(Math.min",
    replace: "if (this.#draining > Infinity) await this.#drain(Math.min",
    test: { file: MISUSE, filter: "drains the work of a term that has expired" },
  },
  {
    name: "stop() waits for two releases that hang, one after the other",
    file: CAMPAIGN,
    find: "await Promise.all([this.#payBack(), unanswered && this.#provider.release(unanswered.termId)]);",
    replace: "await this.#payBack();\n    if (unanswered) await this.#provider.release(unanswered.termId);",
    test: { file: MISUSE, filter: "keeps its bound" },
  },
  {
    name: "stop() waits for a health check",
    file: CAMPAIGN,
    find: "isHealthy(this.#stopped.signal)",
    replace: "isHealthy()",
    test: { file: MISUSE, filter: "keeps its bound" },
  },
  {
    name: "elect() goes by options that its caller has changed since",
    file: "src/elect.ts",
    find: "new LeaderElection(provider, own)",
    replace: "new LeaderElection(provider, options)",
    test: { file: MISUSE, filter: "elect() goes by" },
  },
  {
    name: "elect() opens a URL again that its caller has changed since",
    file: "src/elect.ts",
    find: "await openOwned(String(target), clock",
    replace: "await openOwned(target as string, clock",
    test: { file: MISUSE, filter: "elect() goes by" },
  },
  {
    name: "a stream of hints that breaks as soon as it is live is opened in a loop",
    file: "src/participant/lookout.ts",
    find: "if (this.#config.clock.monotonic() - opened >= this.#config.retryMaxDelay) failures = 0;",
    replace: "failures = 0;",
    test: { file: MISUSE, filter: "a stream of hints" },
  },
  {
    name: "a stream of hints that was live for long is opened as late as one that never was",
    file: "src/participant/lookout.ts",
    find: "if (this.#config.clock.monotonic() - opened >= this.#config.retryMaxDelay) failures = 0;",
    replace: "",
    test: { file: MISUSE, filter: "a stream of hints" },
  },
  {
    name: "a logger whose promise rejects ends the process",
    file: "src/logger.ts",
    find: "    if (told instanceof Promise) told.catch(() => {});\n",
    replace: "",
    test: { file: MISUSE, filter: "a logger whose promises reject" },
  },
  {
    name: "options of calls that do not exist are accepted",
    file: "src/call_options.ts",
    find: "  refuseUnknown(`option of ${call}`, Object.keys(options), known);\n",
    replace: "",
    test: { file: MISUSE, filter: "options of a call" },
  },
  {
    name: "signals of calls that are none are accepted",
    file: "src/call_options.ts",
    find: "  checkSignal(`signal of ${call}`, options.signal);\n",
    replace: "",
    test: { file: MISUSE, filter: "leaves the campaign of a follower alone" },
  },
  {
    name: "a signal that stands where options should is never heard",
    file: "src/call_options.ts",
    find: " || options instanceof AbortSignal",
    replace: "",
    test: { file: MISUSE, filter: "options of a call" },
  },
  {
    name: "all who wait look at once",
    file: "src/participant/spread.ts",
    find: "return rank < FIRST ? 0 : doublingMs * (1 + Math.log2(rank / FIRST));",
    replace: "return 0;",
    test: { file: HAND_OFF, filter: "hintDelay()" },
  },
  {
    name: "a wait after a hint that grows with the number of those who wait",
    file: "src/participant/spread.ts",
    find: "(1 + Math.log2(rank / FIRST))",
    replace: "rank / FIRST",
    test: { file: HAND_OFF, filter: "hintDelay()" },
  },
  {
    name: "a look tells nobody beside us",
    file: LOOKOUT,
    find: "Room.find(this.#provider.target, this.#config.electionGroup)?.tell(leader, now);",
    replace: "",
    test: { file: HAND_OFF, filter: "share one look" },
  },
  {
    name: "a lease that is given back is told to nobody beside us",
    file: LOOKOUT,
    find: "Room.find(this.#provider.target, this.#config.electionGroup)?.invite(transferTo);",
    replace: "",
    test: { file: HAND_OFF, filter: "where there are no hints" },
  },
  {
    name: "a message that names a leader puts a look off for ever",
    file: LOOKOUT,
    find: "Math.max(Math.min(delayMs, this.#lookBy - this.#now), 0)",
    replace: "delayMs",
    test: { file: HAND_OFF, filter: "messages that say for ever" },
  },
  {
    name: "a message counts as a look of one's own",
    file: LOOKOUT,
    find: "    const delayMs = this.#events.told(leader);\n",
    replace: "    const delayMs = this.#events.told(leader);\n    this.#believeFrom(this.#now);\n",
    test: { file: HAND_OFF, filter: "messages that say for ever" },
  },
  {
    name: "old news are believed",
    file: LOOKOUT,
    find: "room === null || leader.token < (this.#events.seen()?.token ?? 0n)",
    replace: "room === null",
    test: { file: HAND_OFF, filter: "news of a term before" },
  },
  {
    name: "hints without rest make looks without rest",
    file: LOOKOUT,
    find: "const gap = this.#hintedAt + HINT_GAP_MS - this.#now;",
    replace: "const gap = 0;",
    test: { file: HAND_OFF, filter: "hints without rest" },
  },
  {
    name: "any number of looks at once",
    file: "src/participant/turns.ts",
    find: "const MOST = 256;",
    replace: "const MOST = Infinity;",
    test: { file: "tests/turns_test.ts", filter: "queue for a slow backend" },
  },
  {
    name: "a look that has ended keeps its turn",
    file: CAMPAIGN,
    find: "      endTurn();\n",
    replace: "",
    test: { file: "tests/turns_test.ts", filter: "queue for a slow backend" },
  },
];
