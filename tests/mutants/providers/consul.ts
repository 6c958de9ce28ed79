/** Defects of the Consul provider. */

import type { MutantTest, ProviderMutant } from "../provider_mutant.ts";

const TESTS = "tests/providers/consul";
const [MAIN, WATCH, RENEWALS] = [`${TESTS}_test.ts`, `${TESTS}_watch_test.ts`, `${TESTS}_renewals_test.ts`];
/** What a name stands for, for every provider. */
const NAMES = "tests/providers/addresses_deno_test.ts";
const [TLS, ADDRESSES] = [`${TESTS}_tls_test.ts`, `${TESTS}_addresses_deno_test.ts`];

/** The first four were found to survive once. */
export const MUTANTS: readonly ProviderMutant[] = [
  mutant(
    "sessions depend on the agent's health check",
    "consul/sessions.ts",
    [
      '`"Checks":[],"NodeChecks":[]}`',
      '`"Checks":["serfHealth"],"NodeChecks":["serfHealth"]}`',
    ],
    RENEWALS,
    "does not depend on the health",
  ),
  mutant(
    "a watch goes on with an index from a log that is no more",
    "consul/pace.ts",
    [
      "this.#index = index < this.#index ? 0 : index;",
      "this.#index = Math.max(index, this.#index);",
    ],
    TLS,
    "set up anew",
  ),
  mutant(
    "a heartbeat that was given up before it was sent goes out with its batch",
    "consul/http.ts",
    [
      "open = batch.filter(isWanted); open.length > 0",
      "open = [...batch]; open.length > 0",
    ],
    RENEWALS,
    "given up before it was sent",
  ),
  mutant(
    "a session that is being created when the provider closes is left behind",
    "consul/sessions.ts",
    [
      "if (this.#creating !== null) await abortable(this.#creating, signal).catch(() => {});",
      "",
    ],
    RENEWALS,
    "being created when the provider closes",
  ),
  mutant(
    "a heartbeat that was given up goes out again after a conflict",
    "consul/http.ts",
    [
      "open = open.filter(isWanted)) {",
      "open = [...open]) {",
    ],
    RENEWALS,
    "left out of the next",
  ),
  mutant(
    "a watch without a usable index spins",
    "consul/pace.ts",
    [
      "this.#isPolling = index <= this.#index && !isLate;",
      "this.#isPolling = false;",
    ],
    WATCH,
    "neither spins nor misses",
  ),
  mutant(
    "a watch whose index grows all the time spins",
    "consul/pace.ts",
    [
      "this.#dueAt - now - BURST * SPACING_MS;",
      "0;",
    ],
    WATCH,
    "ten times a second",
  ),
  mutant(
    "an index that is no positive number is asked behind",
    "consul/http.ts",
    [
      "return Number.isSafeInteger(index) && index > 0 ? index : 0;",
      "return index;",
    ],
    WATCH,
    "neither spins nor misses",
  ),
  mutant(
    "a watch believes a connection that has died",
    "consul/group_key.ts",
    [
      "blockMs * (1 + JITTER) + blockMs / 2",
      "3_600_000",
    ],
    WATCH,
    "its connection is dead",
  ),
  mutant(
    "another beat under an index that was seen before counts as the same",
    "consul/looks.ts",
    [
      " &&\n    a.record?.beat === b.record?.beat",
      "",
    ],
    WATCH,
    "under an index that was seen before",
  ),
  mutant(
    "another session under an index that was seen before counts as the same",
    "consul/looks.ts",
    [
      " && a.session === b.session &&",
      " &&",
    ],
    WATCH,
    "under an index that was seen before",
  ),
  mutant(
    "the observer's clock may run as fast as it likes",
    "kit/standing_records.ts",
    [
      "leaseMs * (1 + CLOCK_RATE_ERROR)",
      "leaseMs",
    ],
    MAIN,
    "takes over in time, and not before",
  ),
  mutant(
    "an unlocked key is free, whatever its record says",
    "consul/looks.ts",
    [
      'look.session === "" && look.record === null)',
      'look.session === "")',
    ],
    MAIN,
    "an operator destroys the session",
  ),
  mutant(
    "a take-over is not conditional on what was seen",
    "consul/group_key.ts",
    [
      "look.index === 0 ? this.#key.checkMissing() : this.#key.checkIndex(look.index),",
      "",
    ],
    MAIN,
    "acquire() that arrives late|take-over was decided",
  ),
  mutant(
    "a heartbeat is not conditional on what was seen",
    "consul/group_key.ts",
    [
      "const operations = [this.#key.checkIndex(look.index), this.#key.lock(",
      "const operations = [this.#key.lock(",
    ],
    MAIN,
    "renew\\(\\) (is lost|that says lost)",
  ),
  mutant(
    "a term that is called lost can be revived by a late heartbeat",
    "consul.ts",
    [
      'return await key.empty(look) && "lost";',
      'return "lost";',
    ],
    MAIN,
    "renew() that says lost ends the term",
  ),
  mutant(
    "a session holds its key back after it has ended",
    "consul/sessions.ts",
    [
      '"LockDelay":"0s"',
      '"LockDelay":"15s"',
    ],
    MAIN,
    "begins its term anew",
  ),
  mutant(
    "a session may expire before the lease",
    "consul/sessions.ts",
    [
      "if (age + heartbeatTimeout <= session.ttlMs",
      "if (age <= session.ttlMs",
    ],
    MAIN,
    "a session that could expire",
  ),
  mutant(
    "looks do not ask for the newest state",
    "consul/group_key.ts",
    [
      'query: { consistent: "" }, ',
      "",
    ],
    MAIN,
    "ask for the newest state",
  ),
  mutant(
    "a renewal that Consul refuses for its metadata fails",
    "consul/group_key.ts",
    [
      "of new Set([next.metadata, record.metadata, NO_METADATA])",
      "of new Set([next.metadata])",
    ],
    TLS,
    "metadata that Consul refuses",
  ),
  mutant(
    "a record that has become too large by its token is not written without metadata",
    "consul/group_key.ts",
    [
      "record.metadata, NO_METADATA])",
      "record.metadata])",
    ],
    TLS,
    "metadata that Consul refuses",
  ),
  mutant(
    "one record that is too large fails those beside it",
    "consul/http.ts",
    [
      "if (error instanceof TooLargeError && open.length > 1) {",
      "if (error instanceof TooLargeError && open.length > 64) {",
    ],
    TLS,
    "metadata that Consul refuses",
  ),
  mutant(
    "renewals of one lease conflict with each other",
    "consul.ts",
    [
      "this.#renewals.run(lease.termId, options, (together) => this.#renewOnce(lease, together))",
      "this.#renewOnce(lease, options)",
    ],
    RENEWALS,
    "fifty renewals",
  ),
  mutant(
    "metadata of an earlier renewal wins",
    "kit/joined_renewals.ts",
    [
      "members.findLast(",
      "members.find(",
    ],
    RENEWALS,
    "fifty renewals",
  ),
  mutant(
    "a provider that is closed leaves its connections open",
    "consul/http.ts",
    [
      "this.#target.transport.close();",
      "",
    ],
    RENEWALS,
    "leaves no connection behind",
  ),
  mutant(
    "a request under way outlives the provider",
    "consul/http.ts",
    [
      "for (const controller of this.#underWay) controller.abort(this.#closed);",
      "",
    ],
    RENEWALS,
    "a request under way ends",
  ),
  mutant(
    "sessions are not destroyed at the end",
    "consul/sessions.ts",
    [
      "await Promise.allSettled([...this.#live.keys()].map((id) => this.#destroy(id, signal)));",
      "",
    ],
    MAIN,
    "share one transaction and one renewal",
  ),
  mutant("only the first address of a name is tried", "kit/dial.ts", [
    "this.#waiting = [...attempts];",
    "this.#waiting = attempts.slice(0, 1);",
  ], ADDRESSES),
  mutant("an address that is silent holds up the next", "kit/dial.ts", [
    "this.#late = setTimeout(() => this.#next(error), NEXT_ADDRESS_MS);",
    "",
  ], ADDRESSES),
  mutant(
    "Deno is left to go on to an address that is not permitted",
    "kit/addresses.ts",
    [
      "queueMicrotask(() => socket.destroy(new SeveralAddresses(host, found)));",
      "return;",
    ],
    NAMES,
    "redis: an address that is not permitted",
  ),
  mutant(
    "a name that may not be looked up is one address",
    "kit/addresses.ts",
    ["autoSelectFamily: isIP(host) === 0 && family === undefined }", "autoSelectFamily: false }"],
    NAMES,
    "redis: an address that is not permitted",
  ),
  mutant("an address that never answers is tried first again", "kit/http_agent.ts", [
    "if (address !== undefined) suspects.add(address);",
    "",
  ], ADDRESSES),
  mutant(
    "the server's certificate may have any name",
    "kit/secure.ts",
    [
      "settings.servername ?? ",
      "",
    ],
    TLS,
    "reads certificates from files",
  ),
  mutant(
    "the client shows no certificate",
    "consul/keys.ts",
    [
      "tls: isSecure ? tls : null,",
      "tls: isSecure ? { ...(tls.ca !== undefined && { ca: tls.ca }) } : null,",
    ],
    TLS,
    "reads certificates from files",
  ),
  mutant(
    "a lock of somebody else is taken over in time",
    "consul/looks.ts",
    [
      "return look.record !== null && this.#expiresIn(look, look.record) <= 0;",
      "return look.record === null || this.#expiresIn(look, look.record) <= 0;",
    ],
    MAIN,
    "a lock of somebody else",
  ),
];

function mutant(
  name: string,
  file: string,
  [find, replace]: readonly [string, string],
  testFile: string,
  filter?: string,
): ProviderMutant {
  const test: MutantTest = { file: testFile, ...(filter !== undefined && { filter }) };
  return { name, file: `providers/${file}`, find, replace, test };
}
