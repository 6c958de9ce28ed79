/** Deliberate defects, each of which the simulation must find. The text that is replaced must stand in the file exactly once. */

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

const ELECTION = "src/participant.ts";
const HEARTBEAT = "src/heartbeat.ts";
const MEMORY = "providers/memory.ts";

/** All of them. */
export const MUTANTS: readonly Mutant[] = [
  {
    name: "validity counted from the answer of acquire",
    file: ELECTION,
    find: "new LeaseTerm(answer.lease, clock, sent, validFor)",
    replace: "new LeaseTerm(answer.lease, clock, instant(clock), validFor)",
    overlaps: true,
  },
  {
    name: "validity counted from the answer of a heartbeat",
    file: HEARTBEAT,
    find: "this.#term.extend(sent);",
    replace: "this.#term.extend(instant(this.#config.clock));",
    overlaps: true,
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
    find: "this.#next.set(backoff(this.#failures++, this.#config));",
    replace: "this.#next.set(backoff(this.#failures++, this.#config)); this.#term.extend(sent); this.#checkDeadline();",
    overlaps: true,
  },
  {
    name: "a heartbeat that fails counts as a loss",
    file: HEARTBEAT,
    find: "this.#next.set(backoff(this.#failures++, this.#config));",
    replace: 'return this.#events.over("lost");',
  },
  {
    name: 'a heartbeat that is answered "lost" is ignored',
    file: HEARTBEAT,
    find: 'if (outcome === "lost") return this.#events.over("lost");',
    replace: 'if (outcome === "lost") return this.#scheduleNext(0);',
  },
  {
    name: "an answer after the deadline brings the term back to life",
    file: HEARTBEAT,
    find: 'if (!this.#term.isValid) return this.#events.over("expired");',
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
    file: "src/term.ts",
    find: "return this.remaining > 0;",
    replace: "return this.#ended === null;",
    overlaps: true,
  },
  {
    name: "the monotonic clock alone",
    file: "src/clock.ts",
    find: "return Math.max(clock.monotonic() - start.monotonic, clock.wall() - start.wall);",
    replace: "return clock.monotonic() - start.monotonic;",
    overlaps: true,
  },
  {
    name: "the wall clock alone",
    file: "src/clock.ts",
    find: "return Math.max(clock.monotonic() - start.monotonic, clock.wall() - start.wall);",
    replace: "return clock.wall() - start.wall;",
    overlaps: true,
  },
  {
    name: "timers that sleep through a suspension",
    file: "src/timer_queue.ts",
    find: "if (jumped <= JUMP_MS) return;",
    replace: "if (jumped <= Infinity) return;",
  },
  {
    name: "the drain skipped",
    file: ELECTION,
    find: "await Promise.race([Promise.all(this.#work), bound, term.over]);",
    replace: "",
  },
  {
    name: "the drain without a bound",
    file: ELECTION,
    find: "await Promise.race([Promise.all(this.#work), bound, term.over]);",
    replace: "await Promise.all(this.#work);",
  },
  {
    name: "the lease released before the term is over",
    file: ELECTION,
    find: "    term.end(reason);\n    await this.backend.giveBack(term.termId);",
    replace: "    await this.backend.giveBack(term.termId);\n    term.end(reason);",
  },
  {
    name: "a new term while the work of the last one drains",
    file: ELECTION,
    find: "if (this.#work.size > 0) throw this.refusal",
    replace: "if (this.#work.size > 1e9) throw this.refusal",
  },
  {
    name: "a grant that comes after stop() is used",
    file: ELECTION,
    find: "if (session.stopped.signal.aborted || !term.isValid) {",
    replace: "if (!term.isValid) {",
  },
  {
    name: "a start() that waits outlives a later stop()",
    file: ELECTION,
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
    file: ELECTION,
    find: "if (session?.unanswered) await this.backend.giveBack(session.unanswered);",
    replace: "",
  },
  {
    name: "a stop() that waits for calls without a bound",
    file: "src/backend.ts",
    find: "    timer.set(boundMs);\n",
    replace: "",
  },
  {
    name: "waits that outlast a stop",
    file: ELECTION,
    find: 'this.waiters.rejectAll(this.refusal("wait", "it was stopped"));',
    replace: "",
  },
  {
    name: "waits that come to nothing on a stop",
    file: "src/waiters.ts",
    find: "          done();\n          reject(reason);",
    replace: "          done();\n          resolve(undefined as never);",
  },
  {
    name: "streams that outlast a stop",
    file: ELECTION,
    find: "    this.hub.close();\n",
    replace: "",
  },
  {
    name: "a loss that nobody is told of",
    file: ELECTION,
    find: 'this.#publish("lost", previous, reason);',
    replace: "",
  },
  {
    name: "a slow reader whose oldest changes are dropped",
    file: "src/backlog.ts",
    find: "constructor(maxTransitions = 1_024) {",
    replace: "constructor(maxTransitions = 1) {",
  },
  {
    name: "an observer that campaigns",
    file: ELECTION,
    find: "const rests = this.#config.observer || cooling > 0 ||",
    replace: "const rests = cooling > 0 ||",
  },
  {
    name: "a release without a cool-down",
    file: ELECTION,
    find: "const rests = this.#config.observer || cooling > 0 ||",
    replace: "const rests = this.#config.observer ||",
  },
  {
    name: "hints believed: nobody looks without one",
    file: "src/lookout.ts",
    find: "return this.#live ? Math.min(expiry, heartbeatTimeout + random() * spread) : Math.min(expiry, interval);",
    replace: "return this.#live ? Infinity : Math.min(expiry, interval);",
  },
  {
    name: "hints ignored",
    file: "src/lookout.ts",
    find: "          this.hint();\n        }",
    replace: "        }",
  },
  {
    name: "an error in the background that nobody catches",
    file: HEARTBEAT,
    find: "void this.beat().catch(() => {})",
    replace: "void this.beat()",
  },
  {
    name: "the first failure to look ends the campaign",
    file: ELECTION,
    find: "        if (signal.aborted) return;\n        this.#log(",
    replace: "        return;\n        this.#log(",
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
    find: 'if (held?.lease.termId !== lease.termId) return "lost";',
    replace: 'if (held === null || held === undefined) return "lost";',
  },
  {
    name: "a lease that is granted while another lives",
    file: MEMORY,
    find: "return held !== null && this.#expiresIn(held) > 0 ? held : null;",
    replace: "return held !== null && this.#expiresIn(held) > held.lease.heartbeatTimeout / 2 ? held : null;",
  },
  {
    name: "a client that sends later what has timed out",
    file: "testing/simulation/network.ts",
    find: "      if (signal.aborted) return reject(signal.reason);\n",
    replace:
      '      if (signal.aborted) return reject(signal.reason);\n      signal.addEventListener("abort", () => {\n' +
      "        world.at(world.now + 3_000, () => server.isDown || void carryOut());\n      });\n",
  },
];
