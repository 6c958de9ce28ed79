/** Defects of `memory:`, each to be noticed by the conformance suite. */

import type { ProviderMutant } from "../provider_mutant.ts";

const FILE = "providers/memory.ts";
const TEST = "tests/providers/memory_test.ts";

/** All of them. */
export const MUTANTS: readonly ProviderMutant[] = [
  mutant("tokens start anew after a release", "group.held = null;", "group.held = null; group.token = 0n;"),
  mutant("an expired lease can be renewed", "this.#expiresIn(held) > 0 ? held", "this.#expiresIn(held) > -100 ? held"),
  mutant(
    "leases expire early",
    "held.lease.heartbeatTimeout - this.#clock.monotonic()",
    "held.lease.heartbeatTimeout * 0.9 - this.#clock.monotonic()",
  ),
  mutant(
    "leases expire by the wall clock",
    "return held.renewedAt + held.lease.heartbeatTimeout - this.#clock.monotonic();",
    "return held.renewedAtWall + held.lease.heartbeatTimeout - this.#clock.wall();",
  ),
  mutant(
    "a lease is granted while another lives",
    "if (held !== null && held.lease.termId !== request.termId) {",
    "if (false) {",
  ),
  mutant(
    "the holder is known by its name only",
    "held.lease.termId !== request.termId",
    "held.lease.participantId !== request.participantId",
  ),
  mutant("a term that asks again gets a new token", "if (held === null) {", "if (held === null || true) {"),
  mutant(
    "a term that asks again does not renew",
    "      } else this.#renew(held, request.metadata);\n      return { acquired: true",
    "      }\n      return { acquired: true",
  ),
  mutant(
    "a refusal does not name the holder",
    "return { acquired: false, leader: this.#describe(held) };",
    "return { acquired: false, leader: null };",
  ),
  mutant(
    "a renewal by whatever term",
    'if (group === undefined || held?.lease.termId !== lease.termId) return "lost";',
    'if (group === undefined || held === null) return "lost";',
  ),
  mutant(
    "a renewal forgets the metadata",
    "this.#renew(held, metadata ?? held.metadata);",
    "this.#renew(held, metadata ?? {});",
  ),
  mutant(
    "a renewal keeps the metadata that it should replace",
    "this.#renew(held, metadata ?? held.metadata);",
    "this.#renew(held, held.metadata);",
  ),
  mutant(
    "a renewal does not prolong the lease",
    "    held.renewedAt = this.#clock.monotonic();\n    held.renewedAtWall",
    "    held.renewedAt ||= this.#clock.monotonic();\n    held.renewedAtWall",
  ),
  mutant(
    "heartbeats do not move lastHeartbeat",
    "held.renewedAtWall = this.#clock.wall();",
    "held.renewedAtWall ||= this.#clock.wall();",
  ),
  mutant(
    "a release by whatever term",
    "if (group === undefined || this.#live(group)?.lease.termId !== lease.termId) return",
    "if (group === undefined || this.#live(group) === null) return",
  ),
  mutant("a release frees nothing", "group.held = null;", ""),
  mutant(
    "a release hints nobody",
    "tell(group, { waiting: group.watchers.size, ...(transferTo !== undefined && { transferTo }) });",
    "",
  ),
  mutant(
    "a release hints the first watcher alone",
    "  for (const watcher of watchers) watcher.push(hint);",
    "  for (const watcher of watchers) return watcher.push(hint);",
  ),
  mutant(
    "a leader that has expired is reported",
    "const held = this.#live(this.#store.get(electionGroup));",
    "const held = this.#store.get(electionGroup)?.held ?? null;",
  ),
  mutant("a watch hints only when something has happened", "new HintStream()", "new HintStream(null)"),
  inStream("a watch leaves its listener", '      signal.removeEventListener("abort", wake);\n', ""),
  inStream("a watch that is aborted is not woken", '    signal.addEventListener("abort", wake);\n', ""),
  inStream("a hint is handed over again and again", "        this.#hint = null;\n", ""),
  mutant("groups that were only looked at are listed", "filter(([, { token }]) => token > 0n)", "filter(() => true)"),
  mutant("aborted calls are made", "    signal.throwIfAborted();\n", ""),
  mutant(
    "expiresIn is the whole lease",
    "expiresIn: this.#expiresIn(held),",
    "expiresIn: held.lease.heartbeatTimeout,",
  ),
  mutant(
    "acquiredAt moves",
    "leadershipAcquiredAt: held.lease.acquiredAt,",
    "leadershipAcquiredAt: new Date(held.renewedAtWall),",
  ),
  mutant("all stores are one", "let store = stores.get(name);", 'let store = stores.get("");'),
  mutant(
    "each provider has a store of its own",
    "if (store === undefined) stores.set(name, store = new Map());",
    "store = new Map();",
  ),
  mutant(
    "the name in a URL is not decoded",
    'decodeURIComponent(url.slice("memory:".length))',
    'url.slice("memory:".length)',
  ),
  mutant("a clock given with a URL is not used", `"memory:".length)), clock })`, `"memory:".length)) })`),
];

function mutant(name: string, find: string, replace: string): ProviderMutant {
  return { name, file: FILE, find, replace, test: { file: TEST } };
}

function inStream(name: string, find: string, replace: string): ProviderMutant {
  return { ...mutant(name, find, replace), file: "providers/kit/hint_stream.ts" };
}
