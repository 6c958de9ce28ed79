/** Defects of what is seen of an election from outside: `elect serve` with its page, `elect check`, the chart. */

import type { ProviderMutant } from "../provider_mutant.ts";

const SERVE = "tests/cli/serve/serve_deno_test.ts";
const ENDS = "tests/cli/serve/ends_deno_test.ts";
const STREAM = "tests/cli/serve/event_stream_test.ts";
const SERVED = "tests/cli/serve/served_election_test.ts";
const PAGE = "tests/cli/serve/page_deno_test.ts";
const SCENE = "tests/cli/serve/scene_deno_test.ts";
const CHECK = "tests/cli/check_deno_test.ts";
const CHART = "tests/cli/terminal_deno_test.ts";
const ANSWERS = "as its description says, on deno";

/** Each must be noticed by the tests of `elect serve` and `elect check`. */
export const MUTANTS: readonly ProviderMutant[] = [
  stream("whoever resumes misses one event", "each.number > number)", "each.number > number + 1)", "who resumes"),
  stream(
    "whoever resumes is not told that events are lost",
    "return missed.length === this.#count - number ? missed : null;",
    "return missed;",
    "who resumes",
  ),
  stream("ids of another process count", "if (origin !== this.#origin) return null;", "", "who resumes"),
  stream("what is kept grows with the size of events", " || this.#keptBytes > KEPT_BYTES", "", "bounded in bytes"),
  stream("a slow reader is waited for", "(reader.controller.desiredSize ?? 0) > 0", "reader !== null", "does not read"),
  stream("a slow reader keeps its connection", "      reader.drop();\n", "", "does not read"),
  {
    name: "a slow reader keeps its socket",
    file: "cli/serve/api.ts",
    find: "() => void outgoing.destroy()",
    replace: "() => void outgoing",
    test: { file: ENDS, filter: "cuts off" },
  },
  access(
    "a Host that begins like an allowed one is served",
    "names.has(plain.toLowerCase())",
    "[...names].some((name) => plain.toLowerCase().startsWith(name))",
  ),
  access("a Host that ends like an address is served", "isIP(plain) === 4", "/\\d$/.test(plain)"),
  access("a Host in capitals is refused", "names.has(plain.toLowerCase())", "names.has(plain)"),
  {
    name: "nobody looks at the Host",
    file: "cli/serve/api.ts",
    find: 'if (names !== null && !mayName(c.req.header("host"), names)) {',
    replace: "if (names === undefined) {",
    test: { file: ENDS, filter: "no other origin" },
  },
  access(
    "a token is compared character by character",
    "timingSafeEqual(digest(given), digest(token))",
    "given === token",
    "isAuthorised()",
  ),
  access(
    "the beginning of a token is enough",
    "digest(given), digest(token)",
    "digest(given), digest(token.slice(0, given.length))",
    "isAuthorised()",
  ),
  access("any scheme carries a token", "/^Bearer +([!-~]+)$/i", "/^\\S* *([!-~]+)$/i", "isAuthorised()"),
  {
    name: "a short token is taken",
    file: "cli/serve/access.ts",
    find: "token.length >= SHORTEST && ",
    replace: "",
    test: { file: STREAM, filter: "readToken()" },
  },
  api("nobody needs a token", "if (!isAuthorised(", 'if (token === "" && !isAuthorised('),
  api("a body may be as long as it likes", "if (size > MAX_BODY) return null;", ""),
  api("a cooldown is not heeded", "cooldown === undefined ? {} : { cooldown }", "{}", "heeds the cooldown", ENDS),
  api("a list is taken for an object", " && !Array.isArray(value)", ""),
  api(
    "HTML goes to whoever would rather have JSON",
    'preferred(c, "application/json", "text/html")',
    'preferred(c, "text/html", "text/html")',
  ),
  api(
    "/leaderz follows the group's leader, not this one",
    "({ election }) => !election.isLeader",
    "({ leader }) => leader === null",
    "hands over before",
  ),
  api(
    "/leaderz asks for one group of many",
    "const wrong = found.find(isNot);",
    "const wrong = found.slice(-1).find(isNot);",
  ),
  api(
    "any origin may read",
    'c.header("X-Content-Type-Options", "nosniff");',
    'c.header("X-Content-Type-Options", "nosniff");\n    c.header("Access-Control-Allow-Origin", "*");',
    "no other origin",
    ENDS,
  ),
  api(
    "answers may be cached",
    'c.header("Cache-Control", "no-store")',
    'c.header("Cache-Control", "public")',
    "no other origin",
    ENDS,
  ),
  api("streams have no limit", "if (open >= MAX_STREAMS)", "if (open < 0)", "thousand streams", ENDS),
  api(
    "a backend that was sick stays sick",
    "if (last !== null && now < last.until)",
    "if (last !== null)",
    "well again",
    ENDS,
  ),
  api(
    "every probe asks the backend",
    "if (last !== null && now < last.until)",
    "if (now < 0 && last !== null)",
    "no more often",
    ENDS,
  ),
  {
    name: "connections have no limit",
    file: "cli/serve/listener.ts",
    find: "const MAX_CONNECTIONS = 1_200;",
    replace: "const MAX_CONNECTIONS = 12_000;",
    test: { file: ENDS, filter: "thousand streams" },
  },
  {
    name: "headers may come as slowly as they like",
    file: "cli/serve/listener.ts",
    find: "  headersTimeout: 5_000,\n  requestTimeout: 10_000,",
    replace: "  headersTimeout: 500_000,\n  requestTimeout: 1_000_000,",
    test: { file: ENDS, filter: "slow with a head or a body, on deno" },
  },
  {
    name: "headers may be as long as they like",
    file: "cli/serve/listener.ts",
    find: "maxHeaderSize: 8_192",
    replace: "maxHeaderSize: 1_000_000",
    test: { file: SCENE, filter: "500 readers" },
  },
  {
    name: "everybody on the host may use the socket",
    file: "cli/serve/listener.ts",
    find: "chmodSync(path, 0o660)",
    replace: "chmodSync(path, 0o666)",
    test: { file: SERVE, filter: "listens on a socket" },
  },
  {
    name: "the socket of a live server is taken",
    file: "cli/serve/listener.ts",
    find: "if (await answers(path))",
    replace: 'if (path === "")',
    test: { file: SERVE, filter: "listens on a socket" },
  },
  {
    name: "it closes first, and hands over then",
    file: "cli/serve/serve.ts",
    find:
      "    await Promise.all(elections.map((each) => each.stop()));\n    all.close();\n    await listener.close();\n",
    replace:
      "    await listener.close();\n    await Promise.all(elections.map((each) => each.stop()));\n    all.close();\n",
    test: { file: ENDS, filter: "hands over first" },
  },
  {
    name: "readers are sent away before the lead is handed over",
    file: "cli/serve/serve.ts",
    find: "    await Promise.all(elections.map((each) => each.stop()));\n    all.close();\n",
    replace: "    all.close();\n    await Promise.all(elections.map((each) => each.stop()));\n",
    test: { file: ENDS, filter: "hands over first" },
  },
  {
    name: "a group may be served twice",
    file: "cli/serve/serve.ts",
    find: "if (new Set(groups).size < groups.length)",
    replace: "if (groups.length === 0)",
    test: { file: SERVE, filter: "refuses what it cannot serve" },
  },
  served("it is ready until the last moment", "    this.#isReady = false;\n", "", "hands over first", ENDS),
  served(
    "readers are not told of the end",
    '    this.#tell("bye", { electionGroup: this.election.electionGroup });\n',
    "",
    "streams changes",
    SERVE,
  ),
  served(
    "the stream of all groups has no changes",
    '    this.#all.publish("change", data);\n',
    "",
    "hands over first",
    ENDS,
  ),
  served(
    "every term of others has expired",
    '? "expired" : "released"',
    '? "expired" : "expired"',
    "hands over before",
    SERVE,
  ),
  served("terms are told in the wrong order", "({ ...each })).reverse()", "({ ...each }))", "terms and participants"),
  served(
    "terms are kept for ever",
    "if (this.#terms.length > KEPT) this.#terms.shift();",
    "",
    "terms and participants",
  ),
  served(
    "participants are kept for ever",
    "if (this.#participants.size <= KEPT) return;",
    "if (this.#participants.size > 0) return;",
    "terms and participants",
  ),
  served(
    "the own participant is forgotten",
    "find((each) => each !== this.election.participantId)",
    "find(() => true)",
    "terms and participants",
  ),
  served(
    "a lease that is left alone seems to have expired",
    "isOld && this.#terms.at(-1)?.until === null",
    "isOld && this.#terms.length === 0",
    "is renewed while nobody",
  ),
  {
    name: "terms that have ended are counted twice",
    file: "cli/serve/metrics.ts",
    find: "this.#counters[name]?.inc({ ...labels, ...more }, value);",
    replace: "this.#counters[name]?.inc({ ...labels, ...more }, 2 * value);",
    test: { file: ENDS, filter: "thousand streams" },
  },
  {
    name: "whoever knows a leader leads, says the metric",
    file: "cli/serve/metrics.ts",
    find: "Number(source.stats().isLeader)",
    replace: "Number(source.stats().token !== null)",
    test: { file: SCENE, filter: "agree on a failover" },
  },
  {
    name: "the page is not that of its sources",
    file: "page/main.ts",
    find: "const SHORTEST_MS = 10_000;",
    replace: "const SHORTEST_MS = 20_000;",
    test: { file: PAGE, filter: "as deno task page makes it" },
  },
  alert("nobody leads, and no alert says so", "unless count by (group)", "and count by (group)"),
  alert("two leaders, and no alert says so", "> min by (group)", "< min by (group)"),
  alert("leaders may come and go", "[15m])) > 4", "[15m])) > 40"),
  alert("validity may run out", "< 0.25", "< 0.025"),
  check(
    "an operation that is refused is no reason to fail",
    'if (isAny(permissions.findings, "error")) return EXIT.unavailable;',
    "",
    "exits 69, naming",
  ),
  check(
    "a setting that is not safe is no reason to fail",
    'if (isAny(findings, "error")) return EXIT.config;',
    "",
    "exits 1 for a warning",
  ),
  check(
    "--strict is not heeded",
    'invocation.strict && isAny(findings, "warning")',
    'isAny(findings, "error")',
    "exits 1 for a warning",
  ),
  check(
    "the own clock is taken for the backend's",
    "told === undefined",
    "told === null || told === undefined",
    "the clock of the backend",
  ),
  {
    name: "a renewal that finds the lease gone is fine",
    file: "cli/check/permissions.ts",
    find: "expected === undefined || result === expected",
    replace: "expected !== undefined || result === expected",
    test: { file: CHECK, filter: "finds the lease gone" },
  },
  {
    name: "--observe writes",
    file: "cli/check/permissions.ts",
    find: "  if (config.observer) return { findings, clockOffsetMs: null };\n",
    replace: "",
    test: { file: CHECK, filter: "tries each permission" },
  },
  {
    name: "a clock that is behind is fine",
    file: "cli/check/judgement.ts",
    find: "if (Math.abs(offsetMs) <= MAX_OFFSET_MS)",
    replace: "if (offsetMs <= MAX_OFFSET_MS)",
    test: { file: CHECK, filter: "the clock of the backend" },
  },
  {
    name: "a slow backend is fine",
    file: "cli/check/judgement.ts",
    find: "median * 4 > requestTimeout",
    replace: "median > 4 * requestTimeout",
    test: { file: CHECK, filter: "judgements name" },
  },
  {
    name: "the chart's lease does not drain",
    file: "cli/chart.ts",
    find: "leader.expiresIn / leaseMs",
    replace: "leaseMs / leaseMs",
    test: { file: CHART, filter: "drawChart()" },
  },
  {
    name: "the chart is wider than the terminal",
    file: "cli/chart.ts",
    find: ".slice(0, Math.max(1, columns))",
    replace: "",
    test: { file: CHART, filter: "drawChart()" },
  },
];

function stream(name: string, find: string, replace: string, filter: string): ProviderMutant {
  return { name, file: "cli/serve/event_stream.ts", find, replace, test: { file: STREAM, filter } };
}

function access(name: string, find: string, replace: string, filter = "mayName()"): ProviderMutant {
  return { name, file: "cli/serve/access.ts", find, replace, test: { file: STREAM, filter } };
}

function api(name: string, find: string, replace: string, filter = ANSWERS, file = SERVE): ProviderMutant {
  return { name, file: "cli/serve/api.ts", find, replace, test: { file, filter } };
}

function served(name: string, find: string, replace: string, filter: string, file = SERVED): ProviderMutant {
  return { name, file: "cli/serve/served_election.ts", find, replace, test: { file, filter } };
}

function alert(name: string, find: string, replace: string): ProviderMutant {
  const test = { file: "tests/cli/serve/deploy_deno_test.ts", filter: "incidents that were recorded" };
  return { name, file: "deploy/prometheus/alerts.yml", find, replace, test };
}

function check(name: string, find: string, replace: string, filter: string): ProviderMutant {
  return { name, file: "cli/commands/check.ts", find, replace, test: { file: CHECK, filter } };
}
