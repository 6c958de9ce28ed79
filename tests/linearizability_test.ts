/** The checker itself: what it must refuse, and what it must accept. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { memoryProvider } from "../providers/memory.ts";
import { abortable } from "../src/call.ts";
import type { Acquired, AcquireRequest, CallOptions, Held, LeaderInfo, Lease, RenewOptions } from "../src/provider.ts";
import { FaultyProvider } from "../testing/faulty_provider.ts";
import {
  checkLinearizability,
  type LinearizabilityResult,
  type RegisterAnswer,
  type RegisterOperation,
  RegisterRecorder,
} from "../testing/linearizability.ts";
import { Random } from "./simulation/random.ts";
import { VirtualClock } from "../testing/virtual_clock.ts";
import { drive } from "./linearizability_run.ts";

const TIMEOUT = 1_000;
const OPERATIONS: Readonly<Record<Exclude<RegisterAnswer, "unknown">, RegisterOperation["operation"]>> = {
  granted: "acquire",
  held: "acquire",
  renewed: "renew",
  lost: "renew",
  released: "release",
  notHolder: "release",
  leader: "read",
  nobody: "read",
};

/** One line: from, to, client, answer, own term, and the term and token that were named. */
type Line = readonly [
  from: number,
  to: number,
  answer: Exclude<RegisterAnswer, "unknown"> | "acquire?" | "release?" | "renew?",
  termId?: string | null,
  seen?: string | null,
  token?: number,
];

function history(lines: readonly Line[]): RegisterOperation[] {
  return lines.map(([invokedAt, to, what, termId = null, seen = null, token = 0], i) => {
    const isUnknown = what.endsWith("?");
    const operation = isUnknown
      ? what.slice(0, -1) as RegisterOperation["operation"]
      : OPERATIONS[what as Exclude<RegisterAnswer, "unknown">];
    const named = what === "granted" ? termId : seen;
    return {
      client: `c${i}`,
      electionGroup: "g",
      operation,
      termId,
      heartbeatTimeout: operation === "acquire" || operation === "renew" ? TIMEOUT : 0,
      invokedAt,
      answeredAt: isUnknown ? Infinity : to,
      answer: isUnknown ? "unknown" : what as RegisterAnswer,
      seen: named === null ? null : { termId: named, token: BigInt(token) },
    };
  });
}

/** A grant of the term to itself. */
function grant(from: number, to: number, termId: string, token: number): Line {
  return [from, to, "granted", termId, termId, token];
}

const A = grant(0, 1, "a", 1);

const WRONG: Readonly<Record<string, readonly Line[]>> = {
  "two terms hold the lease": [A, grant(2, 3, "b", 2)],
  "two concurrent terms were both granted the lease, and neither lets go": [
    grant(0, 5, "a", 1),
    grant(0, 5, "b", 2),
    [6, 7, "renewed", "a"],
    [6, 7, "renewed", "b"],
  ],
  "a term is renewed after it was taken over": [A, grant(1_001, 1_002, "b", 2), [1_003, 1_004, "renewed", "a"]],
  "a term is renewed after its release": [A, [2, 3, "released", "a"], [4, 5, "renewed", "a"]],
  "a term is renewed that was never granted": [A, [2, 3, "renewed", "b"]],
  "a term is told that it is lost while it holds": [A, [2, 3, "lost", "a"]],
  "a term is told that it does not hold while it does": [A, [2, 3, "notHolder", "a"]],
  "a token comes again": [A, [2, 3, "released", "a"], grant(4, 5, "b", 1)],
  "a token is smaller than the last": [grant(0, 1, "a", 7), [2, 3, "released", "a"], grant(4, 5, "b", 6)],
  "a token is smaller than that of an earlier term, which was only read": [
    [0, 0, "acquire?", "a"],
    [1, 2, "leader", null, "a", 9],
    [3, 4, "released", "a"],
    grant(5, 6, "b", 8),
  ],
  "the term that holds the lease asks again, and gets another token": [A, grant(2, 3, "a", 2)],
  "a read names a term that was never granted": [A, [2, 3, "leader", null, "b", 1]],
  "a read names another token": [A, [2, 3, "leader", null, "a", 2]],
  "a read is stale: it names a term that was released before": [
    A,
    [2, 3, "released", "a"],
    [4, 5, "leader", null, "a", 1],
  ],
  "a read is stale: it names a term that was taken over before": [
    A,
    [2, 3, "released", "a"],
    grant(4, 5, "b", 2),
    [6, 7, "leader", null, "a", 1],
  ],
  "a read comes before its time": [[0, 1, "leader", null, "a", 1], grant(2, 3, "a", 1)],
  "two reads see two terms in turn": [
    grant(0, 100, "a", 1),
    grant(0, 100, "b", 2),
    [0, 100, "released", "a"],
    [10, 11, "leader", null, "b", 2],
    [12, 13, "leader", null, "a", 1],
  ],
  "a read sees nobody while a term holds": [A, [500, 501, "nobody"]],
  "a lease expires too early": [A, grant(990, 991, "b", 2)],
  "a lease expires too early after a renewal": [A, [500, 501, "renewed", "a"], grant(1_400, 1_401, "b", 2)],
  "a lease expires too early after its term asked again": [A, grant(500, 501, "a", 1), [1_400, 1_401, "nobody"]],
  "the release of another term frees the lease": [A, [2, 3, "notHolder", "b"], [4, 5, "nobody"]],
  "the release of another term is said to have been done": [A, [2, 3, "released", "b"]],
  "a lease is released twice": [A, [2, 3, "released", "a"], [4, 5, "released", "a"]],
  "an acquire is refused in the name of a term that let go before": [
    A,
    [2, 3, "released", "a"],
    [4, 5, "held", "b", "a", 1],
  ],
  "an acquire is refused in the name of its own term": [A, [2, 3, "held", "a", "a", 1]],
  "an acquire is refused, and nobody had the lease or asked for it": [[0, 1, "held", "a"]],
  "a call of unknown outcome explains two terms": [
    [0, 0, "acquire?", "a"],
    [10, 11, "leader", null, "a", 1],
    [12, 13, "released", "a"],
    [14, 15, "leader", null, "a", 2],
  ],
  "an unknown renewal is not what makes a lease expire": [A, [2, 2, "renew?", "a"], [100, 101, "nobody"]],
  "an unknown release comes before it was sent": [A, [2, 3, "nobody"], [4, 4, "release?", "a"]],
};

const RIGHT: Readonly<Record<string, readonly Line[]>> = {
  "a term comes and goes": [A, [2, 3, "renewed", "a"], [4, 5, "released", "a"], [6, 7, "nobody"], grant(8, 9, "b", 2)],
  "a lease is taken over as soon as it can have expired": [A, [500, 501, "renewed", "a"], grant(1_450, 1_500, "b", 2)],
  "a lease lives for longer than it must": [A, [5_000, 5_001, "renewed", "a"], [5_002, 5_003, "leader", null, "a", 1]],
  "concurrent calls are answered in any order": [
    grant(0, 100, "a", 1),
    [0, 100, "released", "a"],
    grant(0, 100, "b", 2),
    [0, 100, "leader", null, "b", 2],
    [0, 100, "nobody"],
  ],
  "an unknown release is carried out long after": [
    A,
    [2, 2, "release?", "a"],
    [3, 4, "leader", null, "a", 1],
    [500, 501, "nobody"],
  ],
  "an unknown acquire is carried out long after": [
    [0, 0, "acquire?", "a"],
    [1, 2, "nobody"],
    [500, 501, "leader", null, "a", 1],
    grant(502, 503, "a", 1),
  ],
  "an unknown acquire is never carried out": [[0, 0, "acquire?", "a"], grant(1, 2, "b", 1)],
  "a race is lost to one who won": [A, [2, 3, "held", "b"]],
  "a race is lost to one who gave up": [[0, 0, "acquire?", "a"], [1, 2, "held", "b"], [3, 4, "nobody"]],
  "an expired term asks again": [A, [1_001, 1_002, "lost", "a"], grant(1_003, 1_004, "a", 2)],
};

for (const [what, lines] of Object.entries(WRONG)) {
  test(`checkLinearizability() refuses a history, when ${what}`, () => {
    assert.equal(checkLinearizability(history(lines)).violations.length, 1);
  });
}

for (const [what, lines] of Object.entries(RIGHT)) {
  test(`checkLinearizability() accepts a history, when ${what}`, () => {
    accept(checkLinearizability(history(lines)));
  });
}

test("checkLinearizability() accepts the renewal of an expired lease where expiry is revocable, until it is taken over", () => {
  const revived: Line[] = [A, [1_001, 1_002, "nobody"], [1_003, 1_004, "renewed", "a"]];
  assert.equal(checkLinearizability(history(revived)).violations.length, 1);
  accept(checkLinearizability(history(revived), { expiry: "revocable" }));
  for (
    const wrong of [
      // Renewed, it must hold again.
      [...revived, grant(1_500, 1_501, "b", 2)],
      [...revived, [1_500, 1_501, "nobody"] as const],
      [A, grant(1_001, 1_002, "b", 2), [1_003, 1_004, "renewed", "a"] as const],
      [A, [1_001, 1_002, "lost", "a"] as const, [1_003, 1_004, "renewed", "a"] as const],
      [A, [900, 901, "nobody"] as const],
      [A, [2, 2, "release?", "a"] as const, [4, 5, "lost", "a"] as const, [6, 7, "renewed", "a"] as const],
    ]
  ) {
    assert.equal(checkLinearizability(history(wrong), { expiry: "revocable" }).violations.length, 1);
  }
});

test("checkLinearizability() accepts that a provider lets go of a term before the backend does, where expiry is revocable", () => {
  const letGo = history([A, [2, 2, "release?", "a"], [4, 5, "lost", "a"], [6, 7, "leader", null, "a", 1], [
    8,
    9,
    "nobody",
  ]]);
  assert.equal(checkLinearizability(letGo).violations.length, 1);
  accept(checkLinearizability(letGo, { expiry: "revocable" }));
});

test("checkLinearizability() prints the calls that contradict each other, and no others", () => {
  const lines: Line[] = [
    ...Array.from({ length: 30 }, (_, i): Line => [i, i + 0.5, "nobody"]),
    grant(40, 41, "aaaaaaaa-long-id", 1),
    ...Array.from({ length: 30 }, (_, i): Line => [50 + i, 50.5 + i, "renewed", "aaaaaaaa-long-id"]),
    [90, 91, "nobody"],
    [92, 93, "leader", null, "aaaaaaaa-long-id", 1],
  ];
  const [violation] = checkLinearizability(history(lines)).violations;
  assert.ok(violation);
  assert.ok(violation.operations.length <= 3, violation.table);
  assert.match(violation.table, /^client +operation +from ms +to ms +answer\n/);
  assert.match(violation.table, /read +[\d.]+ +[\d.]+ +nobody/);
  assert.ok(!violation.table.includes("long-id"));
});

test("checkLinearizability() checks each group for itself", () => {
  const first = history([A, grant(2, 3, "b", 2)]);
  const second = history([A]).map((each) => ({ ...each, electionGroup: "other" }));
  assert.deepEqual(checkLinearizability([...first, ...second]).violations.map((each) => each.electionGroup), ["g"]);
});

test("checkLinearizability() says that it does not know, when it may not visit enough states", () => {
  const { violations, undecided } = checkLinearizability(history([A, grant(2, 3, "b", 2)]), { maxStates: 1 });
  assert.deepEqual([violations.length, undecided], [0, ["g"]]);
});

/** A client of the memory provider behind a bad network: late requests, lost answers, and callers that do not wait. */
class Client extends FaultyProvider {
  override acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
    return abortable(super.acquire(request, options), options.signal);
  }
  override renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
    return abortable(super.renew(lease, options), options.signal);
  }
  override release(lease: Pick<Lease, "electionGroup" | "termId">, options: CallOptions) {
    return abortable(super.release(lease, options), options.signal);
  }
  override read(electionGroup: string, options: CallOptions): Promise<LeaderInfo | null> {
    return abortable(super.read(electionGroup, options), options.signal);
  }
}

async function randomHistory(seed: number, Kind: typeof Client): Promise<readonly RegisterOperation[]> {
  const clock = new VirtualClock();
  const random = new Random(seed);
  const recorder = new RegisterRecorder(clock);
  const network = random.fork();
  const groups = ["g1", "g2"];
  const providers = ["a", "b", "c"].map((client) => {
    const faulty = new Kind(memoryProvider({ name: `linearizability-${Kind.name}-${seed}`, clock }), clock);
    // Drawn anew for every call that reads it.
    for (const operation of ["acquire", "renew", "release", "read"] as const) {
      Object.defineProperty(faulty.faults, operation, {
        get: () => ({
          delayRequestMs: network.chance(0.03) ? network.ms(0, 3_000) : network.ms(0, 8),
          delayAnswerMs: network.ms(0, 8),
          loseAnswer: network.chance(0.03),
        }),
      });
    }
    return recorder.wrap(faulty, client);
  });
  let isDone = false;
  const given = { providers, groups, clock, random, heartbeatTimeout: 200, durationMs: 3_000, paceMs: 60 };
  const driven = drive(given).finally(() => isDone = true);
  while (!isDone) await clock.advance(100);
  await driven;
  return recorder.operations;
}

function accept({ violations, undecided }: LinearizabilityResult): void {
  assert.deepEqual(violations.map(({ table }) => table), []);
  assert.deepEqual(undecided, []);
}

test("the memory provider is linearizable, whatever the network does", async () => {
  let terms = 0;
  for (let seed = 1; seed <= 12; seed++) {
    const operations = await randomHistory(seed, Client);
    terms += new Set(operations.map(({ seen }) => seen?.token)).size;
    accept(checkLinearizability(operations));
  }
  assert.ok(terms > 100, `only ${terms} terms`);
});

const BROKEN: Readonly<Record<string, typeof Client>> = {
  "releases by group": class extends Client {
    override async release(lease: Pick<Lease, "electionGroup" | "termId">, options: CallOptions) {
      const leader = await super.read(lease.electionGroup, options);
      return await super.release({ ...lease, termId: leader?.termId ?? lease.termId }, options);
    }
  },
  "answers reads from a cache": class extends Client {
    readonly #cache = new Map<string, LeaderInfo | null>();
    override async read(electionGroup: string, options: CallOptions): Promise<LeaderInfo | null> {
      const cached = this.#cache.get(electionGroup);
      const leader = await super.read(electionGroup, options);
      this.#cache.set(electionGroup, leader);
      return cached === undefined ? leader : cached;
    }
  },
  "calls every renewal a success": class extends Client {
    override async renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
      await super.renew(lease, options);
      return "renewed";
    }
  },
  "grants leases that are too short": class extends Client {
    override acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
      return super.acquire({ ...request, heartbeatTimeout: request.heartbeatTimeout * 0.8 }, options);
    }
  },
  "gives every term the same token": class extends Client {
    override async acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
      const answer = await super.acquire(request, options);
      return answer.acquired ? { acquired: true, lease: { ...answer.lease, token: 1n } } : answer;
    }
  },
};

for (const [what, Kind] of Object.entries(BROKEN)) {
  test(`checkLinearizability() refuses a random history of a provider that ${what}`, async () => {
    let found = 0;
    for (let seed = 1; seed <= 6 && found === 0; seed++) {
      found += checkLinearizability(await randomHistory(seed, Kind)).violations.length;
    }
    assert.ok(found > 0);
  });
}
