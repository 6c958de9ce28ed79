/**
 * Deliberate defects, each of which the simulation must find. The text that is replaced must stand in the file exactly
 * once.
 */

/** One defect. */
export interface Mutant {
  /** What is wrong with it. */
  readonly name: string;
  /** The file that is changed, from the root of the repository. */
  readonly file: string;
  /** The text that is replaced. */
  readonly find: string;
  /** The text that replaces it. */
  readonly replace: string;
  /** Whether two leaders at once can come of it, and must be seen. */
  readonly overlaps?: true;
}

const PARTICIPANT = "src/participant/participant.ts";
const CAMPAIGN = "src/participant/campaign.ts";
const HEARTBEAT = "src/participant/heartbeat.ts";
const WORK = "src/participant/work.ts";
const MEMORY = "providers/memory.ts";
const RESTRAINT = "src/participant/restraint.ts";

/** All of them. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: "validity counted from the answer of acquire",
    file: CAMPAIGN,
    find: "new LeaseTerm(answer.lease, clock, sent, validFor)",
    replace: "new LeaseTerm(answer.lease, clock, instant(clock), validFor)",
    overlaps: true,
  },
  {
    name: "validity counted from the answer of a heartbeat",
    file: HEARTBEAT,
    find: "this.#term.extend(sent);",
    replace: "this.#term.extend(instant(this.#config.clock));",
  },
  {
    name: "nothing taken off for slow clocks, and no margin",
    file: "src/options.ts",
    find: "const validFor = heartbeatTimeout * (1 - clockRateError) - safetyMargin;",
    replace: "const validFor = heartbeatTimeout;",
    overlaps: true,
  },
  {
    name: "a heartbeat that fails counts as one that succeeds",
    file: HEARTBEAT,
    find: "this.#next.set(this.#retryDelay());",
    replace: "this.#next.set(this.#retryDelay()); this.#term.extend(sent); this.checkDeadline();",
    overlaps: true,
  },
  {
    name: "a heartbeat that fails counts as a loss",
    file: HEARTBEAT,
    find: "this.#next.set(this.#retryDelay());",
    replace: 'return this.#events.over("lost");',
  },
  {
    name: 'a heartbeat that is answered "lost" is ignored',
    file: HEARTBEAT,
    find: 'if (outcome === "lost") return this.#events.over("lost");',
    replace: 'if (outcome === "lost") return;',
  },
  {
    name: "an answer after the deadline brings the term back to life",
    file: HEARTBEAT,
    find: 'if (left <= 0) return this.#events.over("expired");',
    replace: "",
  },
  {
    name: "no timer for the deadline",
    file: HEARTBEAT,
    find: "else this.#deadline.set(remaining);",
    replace: "",
  },
  {
    name: "a flag instead of a deadline",
    file: "src/participant/term.ts",
    find: "return this.remaining > 0;",
    replace: "return !this.#isOver;",
    overlaps: true,
  },
  {
    name: "the monotonic clock alone",
    file: "src/time/clock.ts",
    find: "return Math.max(clock.monotonic() - start.monotonic, clock.wall() - start.wall);",
    replace: "return clock.monotonic() - start.monotonic;",
    overlaps: true,
  },
  {
    name: "the wall clock alone",
    file: "src/time/clock.ts",
    find: "return Math.max(clock.monotonic() - start.monotonic, clock.wall() - start.wall);",
    replace: "return clock.wall() - start.wall;",
    overlaps: true,
  },
  {
    name: "timers that sleep through a suspension",
    file: "src/time/timer_queue.ts",
    find: "if (jumped <= JUMP_MS) return;",
    replace: "if (jumped <= Infinity) return;",
  },
  {
    name: "the drain skipped",
    file: CAMPAIGN,
    find: "await Promise.race([Promise.all(this.#around.work), bound, ...over]);",
    replace: "",
  },
  {
    name: "the drain without a bound",
    file: CAMPAIGN,
    find: "await Promise.race([Promise.all(this.#around.work), bound, ...over]);",
    replace: "await Promise.all(this.#around.work);",
  },
  {
    name: "the lease released before the term is over",
    file: CAMPAIGN,
    find: '    term.end(term.reason ?? "released");\n',
    replace: "",
  },
  {
    name: "a new term while the work of the last one drains",
    file: CAMPAIGN,
    find: 'if (work.size > 0) return "the work of the last term has not settled";',
    replace: "",
  },
  {
    name: "a grant that comes after stop() is used",
    file: CAMPAIGN,
    find: "grant !== null && !signal.aborted && grant.term.isValid",
    replace: "grant !== null && grant.term.isValid",
  },
  {
    name: "a start() that waits outlives a later stop()",
    file: PARTICIPANT,
    find: "if (this.#stops !== stops) return;",
    replace: "",
  },
  {
    name: "no heartbeats after a stop and a start",
    file: HEARTBEAT,
    find: "this.#scheduleNext(config.validFor - term.remaining);",
    replace: "const beaten = ((globalThis as { beaten?: WeakSet<object> }).beaten ??= new WeakSet());\n" +
      "    if (!beaten.has(config)) this.#scheduleNext(config.validFor - term.remaining);\n    beaten.add(config);",
  },
  {
    name: "an acquire of unknown outcome is forgotten on stop",
    file: CAMPAIGN,
    find: "await Promise.all([this.#payBack(), unanswered && this.#provider.release(unanswered.termId)]);",
    replace: "await this.#payBack();",
  },
  {
    name: "a stop() that waits for calls without a bound",
    file: "src/participant/bounded_provider.ts",
    find: "    timer.set(boundMs);\n",
    replace: "",
  },
  {
    name: "waits that outlast a stop",
    file: PARTICIPANT,
    find: 'this.#waiters?.rejectAll(this.refusal("wait", `it was stopped${this.#lastWords()}`));',
    replace: "",
  },
  {
    name: "waits that come to nothing on a stop",
    file: "src/participant/waiters.ts",
    find: "          done();\n          reject(reason);",
    replace: "          done();\n          resolve(undefined as never);",
  },
  {
    name: "streams that outlast a stop",
    file: PARTICIPANT,
    find: "    this.hub.close();\n",
    replace: "",
  },
  {
    name: "a loss that nobody is told of",
    file: CAMPAIGN,
    find: "this.#around.lost(term, reason);",
    replace: "",
  },
  {
    name: "a slow reader whose oldest changes are dropped",
    file: "src/changes/backlog.ts",
    find: "constructor(maxTransitions = 1_024) {",
    replace: "constructor(maxTransitions = 1) {",
  },
  {
    name: "an observer that campaigns",
    file: CAMPAIGN,
    find: 'if (config.observer) return "it only observes";',
    replace: "",
  },
  {
    name: "a delay that counts from the first vacancy ever",
    file: RESTRAINT,
    find: "this.#freeSince ?? this.#now : null;",
    replace: "this.#freeSince ?? this.#now : this.#freeSince;",
  },
  {
    name: "nobody makes way for the one whom the lease was released for",
    file: RESTRAINT,
    find: ", this.#madeWayUntil - this.#now);",
    replace: ");",
  },
  {
    name: "a release without a cool-down",
    file: CAMPAIGN,
    find: 'if (!isAsked && this.#restraint.left > 0) return "it holds back";',
    replace: "",
  },
  {
    name: "hints believed: nobody looks without one",
    file: "src/participant/lookout.ts",
    find: "return leader.expiresIn === null ? this.#longest + spread : Math.min(expiry, heartbeatTimeout + spread);",
    replace: "return Infinity;",
  },
  {
    name: "hints ignored",
    file: "src/participant/lookout.ts",
    find: "          this.#hear(hint ?? {});\n        }",
    replace: "        }",
  },
  {
    name: "an error in the background that nobody catches",
    file: HEARTBEAT,
    find:
      "      if (this.#stopped) return;\n      this.#next.set(this.#retryDelay());\n      this.#events.failed(error);",
    replace: "      throw error;",
  },
  {
    name: "the first failure to look ends the campaign",
    file: CAMPAIGN,
    find: "return { grant: null, delayMs: lookDelay(++this.#failures, this.#around.config), error };",
    replace: "return { grant: null, delayMs: 2 ** 30, error };",
  },
  {
    name: "tokens start anew after a release",
    file: MEMORY,
    find: "    group.held = null;\n",
    replace: "    group.held = null;\n    group.token = 0n;\n",
  },
  {
    name: "the holder known by its name only",
    file: MEMORY,
    find: "if (held !== null && held.lease.termId !== request.termId) {",
    replace: "if (held !== null && held.lease.participantId !== request.participantId) {",
  },
  {
    name: "release by group, whoever holds it",
    file: MEMORY,
    find: "if (group === undefined || this.#live(group)?.lease.termId !== lease.termId) return",
    replace: "if (group === undefined || this.#live(group) === null) return",
  },
  {
    name: "renewal by group, whoever holds it",
    file: MEMORY,
    find: 'if (group === undefined || held?.lease.termId !== lease.termId) return "lost";',
    replace: 'if (group === undefined || held === null) return "lost";',
  },
  {
    name: "a lease that is granted while another lives",
    file: MEMORY,
    find: "return held !== null && this.#expiresIn(held) > 0 ? held : null;",
    replace: "return held !== null && this.#expiresIn(held) > held.lease.heartbeatTimeout / 2 ? held : null;",
  },
  {
    name: "a client that sends later what has timed out",
    file: "tests/simulation/network.ts",
    find: "      if (signal.aborted) return reject(signal.reason);\n",
    replace:
      '      if (signal.aborted) return reject(signal.reason);\n      signal.addEventListener("abort", () => {\n' +
      "        world.at(world.now + 3_000, () => server.isDown || void carryOut());\n      });\n",
  },
  {
    name: "a try that asks beside the loop",
    file: CAMPAIGN,
    find: "    this.#attempts.push(attempt);\n",
    replace: "    void this.#provider.acquire(crypto.randomUUID(), this.#around.metadata)\n" +
      "      .then(() => attempt.resolve({ leader: null }), attempt.reject);\n",
  },
  {
    name: "a try that does not wait for the end of a step-down",
    file: CAMPAIGN,
    find: "    await this.#drain(drainTimeout, term.over);\n",
    replace: "    if (this.#attempts.length > 0) return;\n    await this.#drain(drainTimeout, term.over);\n",
  },
  {
    name: "a release that ends whatever term is led by then",
    file: WORK,
    find: "  const release = () => void host.release(cooldownMs, term);",
    replace: "  const release = () => void term.over.then(() => host.release(cooldownMs));",
  },
  {
    name: "a run() that does not notice that its signal has aborted",
    file: WORK,
    find:
      '    if (signal?.aborted) {\n      await host.release(cooldownMs, term);\n      return { outcome: "aborted" };\n    }\n',
    replace: "",
  },
  {
    name: "a run() that returns before its lease is released",
    file: WORK,
    find: "      await host.release(cooldownMs, term);\n      if (!result.ok)",
    replace: "      void host.release(cooldownMs, term);\n      if (!result.ok)",
  },
  {
    name: "a start() of an open campaign that ignores its signal",
    file: PARTICIPANT,
    find: "for (const signal of signals) campaign.stopWith(signal, this.#stopNow);",
    replace: "for (const signal of signals) {\n" +
      "      if (!campaign.nextLook && !campaign.term) campaign.stopWith(signal, this.#stopNow);\n" +
      '      else signal.removeEventListener("abort", this.#stopNow);\n    }',
  },
  {
    name: "a stop() that does not wait for the campaign",
    file: PARTICIPANT,
    find: "    await campaign?.done;\n",
    replace: "",
  },
  {
    name: "a back-off between heartbeats that outlasts the term",
    file: HEARTBEAT,
    find: "return Math.min(backoff(this.#failures++, this.#config), share);",
    replace: "return Math.max(backoff(this.#failures++ + 5, this.#config), share);",
  },
  {
    name: "heartbeats that depend on metadata",
    file: HEARTBEAT,
    find: "      await this.#renew();\n",
    replace: "      await this.#renew(this.#events.metadata());\n",
  },
  {
    name: "metadata that changed while its term was asked for",
    file: CAMPAIGN,
    find: "clock, sent, validFor), metadata };",
    replace: "clock, sent, validFor), metadata: this.#around.metadata };",
  },
  {
    name: "a lease that is kept when its term has expired",
    file: CAMPAIGN,
    find: 'if (term.reason !== "lost") this.#owed = term.termId;',
    replace: 'if (term.reason !== "lost" && term.reason !== "expired") this.#owed = term.termId;',
  },
];
