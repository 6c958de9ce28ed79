/** Defects of the Redis provider. */

import type { ProviderMutant } from "../provider_mutant.ts";

const SCRIPTS = "providers/redis/scripts.ts";
const LINK = "providers/redis/link.ts";
const COMMANDS = "providers/redis/commands.ts";
const HINTS = "providers/redis/subscriptions.ts";
const CLUSTER = "providers/redis/cluster.ts";

/** The tests of `tests/providers/redis/` in the file `name` that match `filter`. */
function tests(name: string, filter?: string) {
  return { file: `tests/providers/redis/${name}_test.ts`, ...(filter !== undefined && { filter }) };
}

/** The cases of the conformance suite that match `filter`. */
function conformance(filter: string) {
  return { file: "tests/providers/redis_test.ts", filter };
}

/** Defects in the scripts. */
const IN_SCRIPTS: readonly ProviderMutant[] = [
  {
    name: "leases that are renewed together share the outcome of the first",
    file: SCRIPTS,
    find: "local at = (place - 1) * 3",
    replace: "local at = 0",
    test: tests("joined", "its own outcome"),
  },
  {
    name: "a key that is no lease fails the leases beside it",
    file: SCRIPTS,
    find: "redis.pcall('HMGET', key, ${RENEWED_FIELDS})",
    replace: "redis.call('HMGET', key, ${RENEWED_FIELDS})",
    test: tests("joined", "its own outcome"),
  },
  {
    name: "a group that is not ours to touch fails the leases beside it",
    file: "providers/redis/renewals.ts",
    find: "/\\b(CROSSSLOT|NOPERM)\\b/",
    replace: "/\\b(CROSSSLOT)\\b/",
    test: tests("joined", "fails alone"),
  },
  {
    name: "a release fails, after it has released, for a user who may not publish",
    file: SCRIPTS,
    find: "redis.pcall('PUBLISH', ARGV[2], '${COUNTING}')",
    replace: "redis.call('PUBLISH', ARGV[2], '${COUNTING}')",
    test: tests("setup", "release() has released, when the user may not publish"),
  },
  {
    name: "heartbeats do not move lastHeartbeat",
    file: SCRIPTS,
    find: "redis.call('HSET', key, 'renewedAt', stamp, 'expiresAt'",
    replace: "redis.call('HSET', key, 'expiresAt'",
    test: tests("records", "heartbeats move lastHeartbeat"),
  },
  {
    name: "heartbeats do not change the version",
    file: SCRIPTS,
    find: "(tonumber(beats) or 0) + 1)",
    replace: "(tonumber(beats) or 0))",
    test: tests("records", "heartbeats move lastHeartbeat"),
  },
  {
    name: "a late call shortens a lease",
    file: SCRIPTS,
    find: "if now >= (tonumber(renewedAt) or 0) then till = math.max(till, tonumber(expiresAt) or 0) end",
    replace: "",
    test: tests("records", "heartbeats move lastHeartbeat"),
  },
  {
    name: "an expiry from before the clock was set back stays",
    file: SCRIPTS,
    find: "if now >= (tonumber(renewedAt) or 0) then till",
    replace: "if true then till",
    test: tests("clock", "a heartbeat after the clock was set back"),
  },
  {
    name: "the server's clock is believed whatever it shows",
    file: SCRIPTS,
    find: "ARGV[7] == '' or now <= tonumber(ARGV[7])",
    replace: "true",
    test: tests("clock", "set forward ends no lease early"),
  },
  {
    name: "a clock that was set back is believed as soon as it goes on",
    file: SCRIPTS,
    find: "ARGV[6] == '' or now >= tonumber(ARGV[6])",
    replace: "true",
    test: tests("clock", "between two looks"),
  },
  {
    name: "a record that stood still is not taken over",
    file: SCRIPTS,
    find: "ARGV[5] == held[1] .. ':' .. held[9] .. ':' .. held[5]",
    replace: "false",
    test: tests("clock", "set back keeps nobody in"),
  },
  {
    name: "a take-over is not conditional on the version seen",
    file: SCRIPTS,
    find: "ARGV[5] == held[1] .. ':' .. held[9] .. ':' .. held[5]",
    replace: "ARGV[5] ~= ''",
    test: tests("records", "a take-over is conditional on the version"),
  },
  {
    name: "a lease expires a second early",
    file: SCRIPTS,
    find: "local isOver = held[1] and now >= tonumber(held[8])",
    replace: "local isOver = held[1] and now + 1000000 >= tonumber(held[8])",
    test: conformance("a lease lives as long as promised"),
  },
  {
    name: "what is over can be renewed",
    file: SCRIPTS,
    find: "and version ~= present then return {2, stamp, present} end",
    replace: "and false then return {2, stamp, present} end",
    test: tests("records", "a lease whose time is over is lost"),
  },
  {
    name: "a renewal does not compare terms",
    file: SCRIPTS,
    find: "if held[1] ~= termId then return {0, stamp} end",
    replace: "if not held[1] then return {0, stamp} end",
    test: conformance("an expired term is over"),
  },
  {
    name: "a release does not compare terms",
    file: SCRIPTS,
    find: "if held[1] ~= ARGV[1] then return {0, stamp} end\nredis.call('DEL'",
    replace: "if not held[1] then return {0, stamp} end\nredis.call('DEL'",
    test: conformance("renew() and release() of an old term"),
  },
  {
    name: "the token does not count on",
    file: SCRIPTS,
    find: "token = math.max(token, number + 1)",
    replace: "token = math.max(token, number)",
    test: conformance("acquire() counts on from the last token"),
  },
  {
    name: "a heartbeat fails when memory is short",
    file: SCRIPTS,
    find: "local function beat(key, lease, renewedAt, expiresAt, beats)\n  redis.call('PERSIST', key)",
    replace: "local function beat(key, lease, renewedAt, expiresAt, beats)",
    test: conformance("when memory is short"),
  },
  {
    name: "a record that lacks its end is believed",
    file: SCRIPTS,
    find: "ipairs({3, 4, 5, 7, 8, 9})",
    replace: "ipairs({3, 4, 5})",
    test: tests("records", "a record that somebody edited"),
  },
];

/** Defects in connections. */
const IN_CONNECTIONS: readonly ProviderMutant[] = [
  {
    name: "a refused SELECT is swallowed",
    file: LINK,
    find: 'if (database !== 0) await expectOk(link, "SELECT", String(database));',
    replace: 'if (database !== 0) await link.send("SELECT", String(database)).catch(() => {});',
    test: tests("setup", "no lease is written"),
  },
  {
    name: "a refused AUTH is swallowed",
    file: LINK,
    find: 'await expectOk(link, "AUTH",',
    replace: 'void expectOk(link, "AUTH",',
    test: tests("setup", "calls reject, when the server refuses the password"),
  },
  {
    name: "a connection to a demoted server is kept",
    file: COMMANDS,
    find: "          target.link.close(error);\n",
    replace: "",
    test: tests("silence", "a connection to a server that became a replica is left"),
  },
  {
    name: "hints of a demoted server are kept",
    file: COMMANDS,
    find: "          this.#onDemoted(error);\n",
    replace: "",
    test: tests("silence", "a connection to a server that became a replica is left"),
  },
  {
    name: "a command that waited for the connection is sent after its caller has gone",
    file: COMMANDS,
    find: "      signal.throwIfAborted();\n",
    replace: "",
    test: tests("silence", "a command that waited for its connection"),
  },
  {
    name: "a silent connection is kept when a caller gives up",
    file: COMMANDS,
    find: "if (!this.#isClosed) this.#router.suspect(this.#pace.suspicionMs);",
    replace: "",
    test: tests("silence", "is left with the first call that is given up on it"),
  },
  {
    name: "a call that is given up at once costs the connection",
    file: "providers/redis/pace.ts",
    find: "Math.max(this.#shortest / 4, LEAST_MS)",
    replace: "0",
    test: tests("silence", "a call that is given up at once"),
  },
  {
    name: "silence is waited out whatever the lease is",
    file: "providers/redis/pace.ts",
    find: "return Math.min(this.#socketTimeoutMs, Math.max(this.#shortest, LEAST_MS));",
    replace: "return this.#socketTimeoutMs;",
    test: tests("silence", "a silent server is left after a lease"),
  },
  {
    name: "a connection that cannot be made is waited for whatever the lease is",
    file: "providers/redis/pace.ts",
    find: "return Math.min(this.#socketTimeoutMs, Math.max(this.#shortest / 3, LEAST_OPENING_MS));",
    replace: "return this.#socketTimeoutMs;",
    test: tests("silence", "a connection that cannot be made"),
  },
  {
    name: "a provider that is closed leaves its checks and lists under way",
    file: "providers/redis.ts",
    find: 'this.#closing.abort(new Error("the provider is closed"));',
    replace: "",
    test: tests("silence", "a provider that is closed ends its checks"),
  },
  {
    name: "the driver queues while it is offline and sends again",
    file: "providers/redis/driver.ts",
    find: "  enableOfflineQueue: false,\n  autoResendUnfulfilledCommands: false,\n",
    replace: "",
    test: tests("driver"),
  },
  {
    name: "a client that its owner has closed is taken for open",
    file: "providers/redis/injected.ts",
    find: 'isOver: () => client.status === "end",',
    replace: "isOver: () => false,",
    test: tests("injected", "a client whose owner has called"),
  },
  {
    name: "answers of another form are losses",
    file: "providers/redis/answers.ts",
    find: "  if (value === undefined) throw new Error(",
    replace: "  if (value === undefined) return known[0] as T;\n  if (value === undefined) throw new Error(",
    test: tests("records", "an answer that is none of our scripts'"),
  },
];

/** Defects in hints, clusters, and what is read of URLs. */
const ELSEWHERE: readonly ProviderMutant[] = [
  {
    name: "channels are never unsubscribed",
    file: HINTS,
    find: 'this.#link?.then((link) => link.send("unsubscribe", name)).catch(() => {});',
    replace: "",
    test: tests("silence", "channels are unsubscribed"),
  },
  {
    name: "a connection for hints is not asked whether it lives",
    file: HINTS,
    find: 'else if (!this.#hasHeard) link.send("subscribe", name).catch(() => {});',
    replace: "",
    test: tests("silence", "a connection for hints that died"),
  },
  {
    name: "the question's answer is not waited for",
    file: HINTS,
    find: "link.closeIfSilent(this.#pace.questionMs * 0.9);",
    replace: "",
    test: tests("silence", "a connection for hints that died is noticed within a lease"),
  },
  {
    name: "ASK is taken for MOVED",
    file: "providers/redis/slots.ts",
    find: 'asking: kind === "ASK"',
    replace: "asking: false",
    test: tests("cluster", "follow a slot that moves"),
  },
  {
    name: "a server of a cluster that failed is asked again who has the slots",
    file: CLUSTER,
    find: "const trusted = known.filter(([name]) => !this.#avoided.has(name));",
    replace: "const trusted = known.filter(([name]) => this.#avoided.has(name));",
    test: tests("cluster", "goes silent"),
  },
  {
    name: "the map of slots is never asked for again",
    file: CLUSTER,
    find: "    this.#avoided.add(name);\n    this.#isStale = true;\n",
    replace: "    this.#avoided.add(name);\n",
    test: tests("cluster", "goes silent"),
  },
  {
    name: "one sentinel is believed",
    file: "providers/redis/sentinel.ts",
    find: "if (vote.count * 2 > setup.sentinels.length) decide(address);",
    replace: "decide(address);",
    test: tests("sentinel", "the majority of sentinels is believed"),
  },
  {
    name: "a password may end at any character",
    file: "providers/redis/target.ts",
    find: 'if (more.length > 0) throw malformed("there is more than one colon before the host");',
    replace: "",
    test: tests("target"),
  },
  {
    name: "a connection for a list of groups stays open",
    file: "providers/redis/upkeep.ts",
    find: '      signal.removeEventListener("abort", onAbort);\n      link.close(null);\n',
    replace: '      signal.removeEventListener("abort", onAbort);\n',
    test: tests("groups", "groups() holds up no heartbeat"),
  },
];

/** All of them. */
export const MUTANTS: readonly ProviderMutant[] = [...IN_SCRIPTS, ...IN_CONNECTIONS, ...ELSEWHERE];
