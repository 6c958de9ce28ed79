/** Defects of the etcd provider: of its terms, its heartbeats, its watch, and of whom it asks. */

import type { MutantTest, ProviderMutant } from "../provider_mutant.ts";

const tests = (suffix: string) => (filter: string): MutantTest => ({
  file: `tests/providers/etcd${suffix}_test.ts`,
  filter,
});
const main = tests("");
const terms = tests("_terms");
const renewals = tests("_renewals");
const members = tests("_members");
const inspection = tests("_inspection");
const watch = tests("_watch");
const auth = tests("_auth");
const elect = tests("_elect_deno");
const cluster = tests("_cluster_deno");

const NOT_THERE = "if (!alive.isThere) return false;";
const RENEWED = 'return "renewed";';

export const MUTANTS: readonly ProviderMutant[] = [
  mutant(
    "a keepalive that a deposed leader answered renews",
    "term_renewals",
    ["    checkTerms(alive, read);\n", ""],
    renewals("renew() counts for nothing"),
  ),
  mutant(
    "a keepalive that a deposed leader answered grants",
    "elections",
    ["      checkTerms(await kept, { raftTerm: raftTermOf(answer) });\n", ""],
    renewals("acquire() is not granted, when"),
  ),
  mutant(
    "a lease is granted before its session is known to live",
    "elections",
    ["checkTerms(await kept, { raftTerm", "checkTerms({ isThere: true, raftTerm: 2n ** 62n }, { raftTerm"],
    renewals("before its session is known"),
  ),
  mutant(
    "the terms of Raft are not compared",
    "heartbeats",
    ["kept.raftTerm < read.raftTerm", "kept.raftTerm < 0n"],
    cluster("frozen, and has a successor"),
  ),
  mutant(
    "a session that is gone renews",
    "heartbeats",
    ['if (!kept.isThere) throw new Error("etcd does not know the session");', ""],
    renewals("does not know the session yet"),
  ),
  mutant(
    "a session that is not known ends a term whose key is there",
    "term_renewals",
    ["if (!alive.isThere && !isThere(await session.heartbeats.read(key, signal))) return false;", NOT_THERE],
    renewals("does not know the session yet"),
  ),
  mutant(
    "a session that ends in the middle of a heartbeat is an error",
    "term_renewals",
    ["if (!alive.isThere && !isThere(await session.heartbeats.read(key, signal))) return false;", ""],
    renewals("between the read and the keepalive"),
  ),
  mutant(
    "another term begins in a session that is not known",
    "term_renewals",
    ["if (!kept.isThere) session.isUsable = false;\n    else if", "if"],
    renewals("does not know the session yet"),
  ),
  mutant(
    "a key that is gone is renewed",
    "term_renewals",
    ["    if (!isThere(read)) return false;\n", ""],
    main("evicts"),
  ),
  mutant(
    "a key that was made anew is renewed",
    "term_renewals",
    ["BigInt(kv.create_revision) === token && kv.lease", "kv.lease"],
    renewals("was made anew"),
  ),
  mutant(
    "a key that another session holds is renewed",
    "term_renewals",
    [" && kv.lease === session.id;", ";"],
    renewals("not bound to the session"),
  ),
  mutant(
    "each heartbeat goes by itself",
    "heartbeats",
    ["setImmediate(() => this.#flush());", "this.#flush();"],
    renewals("share one keepalive"),
  ),
  mutant(
    "one transaction reads all keys that are due",
    "heartbeats",
    ["const MAX_OPERATIONS = 100;", "const MAX_OPERATIONS = 1_000;"],
    renewals("share one keepalive"),
  ),
  mutant(
    "a session lives for a part of a second less than the lease",
    "sessions",
    ["Math.ceil(heartbeatTimeout / 1000)", "Math.floor(heartbeatTimeout / 1000)"],
    renewals("no less than the lease"),
  ),
  mutant(
    "metadata that arrives late replaces what was written since",
    "term_renewals",
    ["...(term.writtenAt === null ? [] : [isWrittenAt(key, term.writtenAt)])", ""],
    renewals("given up, and arrives late"),
  ),
  mutant(
    "metadata of unknown outcome is taken for what was there before",
    "term_renewals",
    ["      term.value = null;\n", ""],
    renewals("metadata whose outcome is unknown"),
  ),
  mutant(
    "metadata that etcd refuses costs the lease",
    "term_renewals",
    ["if (!isRefused(error) || isLeaseGone(error)) throw error;", "throw error;"],
    renewals("metadata that etcd refuses"),
  ),
  mutant(
    "a term of another provider is renewed",
    "elections",
    ['throw permanently(new Error("another provider has acquired the lease, and that one has to renew it"));', RENEWED],
    renewals("by another provider is refused"),
  ),
  mutant(
    "a late acquire succeeds in spite of the fence",
    "elections",
    ["compare: [isEmpty(group), isWrittenAt(session.fence, session.fenceRevision)],", "compare: [isEmpty(group)],"],
    terms("arrives when nobody waits"),
  ),
  mutant(
    "no fence stops an acquire that may be on its way",
    "terms",
    ["if (unanswered.size > 0) {", "if (unanswered.size > 9) {"],
    terms("stops the acquire that is still on its way"),
  ),
  mutant(
    "an acquire without an answer is forgotten",
    "elections",
    ["    term.unanswered.add(request);\n", ""],
    terms("stops the acquire that is still on its way"),
  ),
  mutant(
    "a term that was released while its call looked is asked for",
    "elections",
    ["    if (term.ending !== null) return null;\n", ""],
    terms("may meet at any point"),
  ),
  mutant(
    "a fence that somebody raised is never learned",
    "elections",
    ['    session.fenceRevision = found(answer, 1)?.mod_revision ?? "0";\n', ""],
    terms("learns of a fence"),
  ),
  mutant(
    "a participant asks for its own key alone, whoever else leads",
    "elections",
    ["compare: [isEmpty(group), ", 'compare: [isWrittenAt(key, "0"), '],
    main("grants one of many"),
  ),
  mutant(
    "a term that is not renewed stays, while others keep its session alive",
    "terms",
    ["else void this.end(term).catch(() => {});", "else next = Math.min(next, now + 3_600_000);"],
    terms("frees its group"),
  ),
  mutant(
    "a key is deleted whatever revision created it",
    "terms",
    ["compare: [isCreatedAt(key, term.token)], ", ""],
    terms("deletes nothing"),
  ),
  mutant(
    "a deletion that failed is not tried again",
    "terms",
    ["first.catch(() => this.#goOn(term))", "first.catch(() => false)"],
    terms("deletes nothing"),
  ),
  mutant(
    "a term is renewed while its key is being deleted",
    "term_renewals",
    ["    if (term.ending !== null) return false;\n", ""],
    terms("from when the deletion"),
  ),
  mutant(
    "a term begins anew while its old key is being deleted",
    "elections",
    ["(known.ending !== null || !known", "(!known"],
    terms("deletes nothing"),
  ),
  mutant(
    "a term that asks for longer keeps a session that lives for less",
    "elections",
    [" || known.session.ttlMs < heartbeatTimeout);", ");"],
    terms("asks for longer"),
  ),
  mutant(
    "closing ends sessions that terms rely on",
    "sessions",
    ["session.isUsable && !isNeeded(session)", "session.isUsable"],
    terms("closing ends it"),
  ),
  mutant(
    "closing leaves sessions behind that nobody needs",
    "sessions",
    ['sessions.map(({ id }) => client.send("lease/revoke", { ID: id }, signal))', "[]"],
    terms("closing ends it"),
  ),
  mutant(
    "who waits asks for the lease each time it looks",
    "elections",
    ["this.#held.has(electionGroup) ? await this.#first(electionGroup, signal) : undefined", "undefined"],
    terms("waiting and losing"),
  ),
  mutant(
    "a leader of etcdctl's can be evicted",
    "record",
    ["termId: `etcd-session/${rest}`", "termId: rest"],
    elect("a participant waits while"),
  ),
  mutant(
    "metadata of a leader is a hint for all who wait",
    "watch",
    ["(!isDeleted && kv.create_revision !== kv.mod_revision)", "false"],
    watch("takes one stream"),
  ),
  mutant(
    "each stream of a watch begins with what comes next",
    "watch",
    ["watchOf(keys.all, this.#next)", "watchOf(keys.all, null)"],
    watch("goes on in another stream"),
  ),
  mutant(
    "a revision that the cluster has forgotten ends the watch",
    "watch",
    ["        if (message.compact_revision !== undefined) return this.#skip();\n", ""],
    watch("goes on in another stream"),
  ),
  mutant(
    "a gap is told of before what follows it can be heard",
    "watch",
    [
      "    this.#hasGap = true;\n",
      "    for (const each of this.watchers.values()) for (const watcher of each) watcher.push();\n",
    ],
    watch("goes on in another stream"),
  ),
  mutant(
    "a stream of a watch is listened to for ever",
    "watch",
    ["          cancel = clock.setTimer(enough, STREAM_MS);\n", ""],
    watch("goes on in another stream"),
  ),
  mutant(
    "a watch that is denied keeps its token",
    "watch",
    ["      void this.#options.client.renewToken();\n", ""],
    auth("a watch gets another token"),
  ),
  mutant(
    "who waits is not told for whom a lease was released",
    "watch",
    ["isDeleted ? heirs.get(group) : undefined", "undefined"],
    main("release() for one participant"),
  ),
  mutant(
    "a token that was refused stays",
    "client",
    ["      await this.#tokens.forget(token);\n", ""],
    auth("a token that the cluster has forgotten"),
  ),
  mutant(
    "a member that does not answer is asked again",
    "client",
    ["this.#current = (this.#current + 1) % this.#members.length", "this.#current += 0"],
    members("is not asked next"),
  ),
  mutant(
    "a request that may have been carried out goes to another member",
    "client",
    ["const isUndone = isUnreachable(error) || hasNoLeader(error);", "const isUndone = !signal.aborted;"],
    members("one whose request may go on is not"),
  ),
  mutant(
    "a member without a leader is not left within the call",
    "client",
    ["isUnreachable(error) || hasNoLeader(error)", "isUnreachable(error)"],
    members("is left within the call"),
  ),
  mutant(
    "a member that refuses connections is not passed by",
    "client",
    ["isUnreachable(error) || hasNoLeader(error)", "hasNoLeader(error)"],
    members("refuses connections"),
  ),
  mutant(
    "a member that lost its leader need not say so",
    "client",
    [', "grpc-metadata-hasleader": "true" }', " }"],
    cluster("a member that is cut off"),
  ),
  mutant(
    "an inspection hears no alarm",
    "inspection",
    ["if (names.size === 0)", "if (names.size >= 0)"],
    inspection("no space"),
  ),
  mutant(
    "an inspection takes two clusters for one",
    "inspection",
    ["if (size <= 1)", "if (size >= 1)"],
    inspection("addresses that lead elsewhere"),
  ),
  mutant(
    "an inspection trusts any version",
    "inspection",
    ["  if (isAlone) return", "  if (isAlone || minor > 0) return"],
    inspection("what an old version risks"),
  ),
  mutant(
    "an inspection takes a learner for a member",
    "inspection",
    ["if (status.isLearner !== true)", "if (status.isLearner !== null)"],
    inspection("a learner"),
  ),
  mutant(
    "an inspection lets a user without the right to write pass",
    "inspection",
    ['judgeRight("writing", writing.why, keys)', 'judgeRight("writing", reading.why, keys)'],
    inspection("which right a user lacks"),
  ),
];

function mutant(name: string, file: string, [find, replace]: [string, string], test: MutantTest): ProviderMutant {
  return { name, file: `providers/etcd/${file}.ts`, find, replace, test };
}
