/**
 * Chaos on a real backend: `elect run` processes compete, a witness watches, and faults come one after the other.
 *
 * @module
 */

import { sleep, systemClock } from "../../src/time/clock.ts";
import { Random } from "../simulation/random.ts";
import { addressesIn, BACKENDS } from "../permissions.ts";
import { kindOf } from "../servers/kinds.ts";
import type { TestServer } from "../servers/server.ts";
import { patience } from "../slowness.ts";
import { Contestant } from "./contestant.ts";
import { type Arena, inflict } from "./faults.ts";
import { Proxy } from "./proxy.ts";
import { type Testimony, Witness } from "./witness.ts";

/** The backends that processes share without a server, and what they keep in a directory. */
const ON_DISK: Readonly<Record<string, string>> = { file: "", sqlite: "/elections.db" };

/** The backends that a run may be told, but for that of another kind of machine. */
export const CONTESTED: readonly string[] = [
  ...Object.keys(ON_DISK),
  ...BACKENDS.filter((name) => name !== "sqlserver"),
];

/** What a run is told. */
export interface ChaosPlan {
  readonly backend: string;
  readonly faults: number;
  readonly seed: number;
}

/** What a run came to. */
export interface ChaosResult extends Testimony, ChaosPlan {
  /** Faults by their names. */
  readonly counts: ReadonlyMap<string, number>;
  readonly lost: number;
  /** The longest time without a leader, while the server answered and somebody healthy could reach it. */
  readonly leaderlessMs: number;
  readonly boundMs: number;
  readonly seconds: number;
}

const CONTESTANTS = 3;
/** Azure's shortest lease; the others keep shorter ones. */
const LEASE_MS: Readonly<Record<string, number>> = { "azure-blob": 15_000 };
const DEFAULT_LEASE_MS = 2_000;
/**
 * Azurite, the emulator, keeps leases in memory only: killed, it grants them again at once, which no client can help.
 * Azure itself does not. It is frozen instead.
 */
const FORGETFUL: readonly string[] = ["azure-blob"];
/**
 * The lease and one look: `lockTimeout` and `electionInterval` are 5 s each by default; and for starting a process, for
 * a server to get to its feet, and for the machine to have time for it all, 3 s on one that is idle.
 */
const LOOK_MS = 5_000 + 5_000 + patience(3_000);

/** Whether nothing happened that must not. */
export function isClean(result: ChaosResult): boolean {
  const { overlaps, regressions, lost, doneTwice, leaderlessMs, boundMs, terms } = result;
  return overlaps.size + regressions.length + lost + doneTwice === 0 && leaderlessMs <= boundMs && terms > 1;
}

/** Runs one backend. */
export async function chaos(plan: ChaosPlan): Promise<ChaosResult> {
  const { backend, faults, seed } = plan;
  const random = new Random(seed);
  const leaseMs = LEASE_MS[backend] ?? DEFAULT_LEASE_MS;
  const boundMs = leaseMs + LOOK_MS;
  const start = systemClock.monotonic();
  const witness = await Witness.start();
  const { server, url, end } = await startBackend(backend);
  const counts = new Map<string, number>();
  const watch = new AbortController();
  const contestants: Contestant[] = [];
  try {
    const contest = {
      group: "chaos",
      witness: witness.address,
      heartbeatTimeout: leaseMs,
      heartbeatInterval: leaseMs / 4,
    };
    for (let i = 0; i < CONTESTANTS; i++) {
      const [address] = server === null ? [] : addressesIn(url);
      const proxy = address === undefined ? null : await Proxy.start(address);
      const mine = proxy === null || address === undefined ? url : url.replaceAll(address, proxy.address);
      contestants.push(new Contestant(`p${i}`, mine, proxy, contest));
    }
    const arena: Arena = {
      contestants: contestants as [Contestant, ...Contestant[]],
      server,
      isDurable: !FORGETFUL.includes(backend),
      // Faults as long as Azure's leases would leave no time for many of them.
      leaseMs: Math.min(leaseMs, 3_000),
      leader: () => contestants.find(({ id }) => id === witness.newest?.id),
      serverSince: systemClock.monotonic(),
    };
    while (witness.newest === null && systemClock.monotonic() - start < boundMs) await sleep(systemClock, 50);
    const leaderless = watchLeadership(arena, witness, watch.signal);
    await inflict(arena, faults, random, counts);
    // The last fault must be recovered from, too.
    const recovering = systemClock.monotonic();
    while (witness.lastSeen < recovering && systemClock.monotonic() - recovering < boundMs) {
      await sleep(systemClock, 50);
    }
    watch.abort();
    const leaderlessMs = await leaderless;
    const { testimony, lost } = witness;
    const seconds = (systemClock.monotonic() - start) / 1_000;
    // What is under way when the run ends is not lost.
    return { ...plan, ...testimony, counts, lost: Math.max(0, lost - 1), leaderlessMs, boundMs, seconds };
  } finally {
    watch.abort();
    await Promise.all(contestants.map((contestant) => contestant.retire()));
    witness.close();
    await end();
  }
}

/** Returns the longest time for which somebody could have led and nobody did. */
async function watchLeadership(arena: Arena, witness: Witness, signal: AbortSignal): Promise<number> {
  let longest = 0;
  while (!signal.aborted) {
    const healthy = arena.contestants.map(({ healthySince }) => healthySince).filter((since) => since !== null);
    if (arena.serverSince !== null && healthy.length > 0) {
      const possibleSince = Math.max(arena.serverSince, Math.min(...healthy));
      longest = Math.max(longest, systemClock.monotonic() - Math.max(possibleSince, witness.lastSeen));
    }
    await sleep(systemClock, 20, signal).catch(() => {});
  }
  return longest;
}

async function startBackend(
  backend: string,
): Promise<{ server: TestServer | null; url: string; end: () => Promise<void> }> {
  const path = ON_DISK[backend];
  if (path !== undefined) {
    const directory = await Deno.makeTempDir({ prefix: "elect-chaos-" });
    const end = () => Deno.remove(directory, { recursive: true });
    return { server: null, url: `${backend}://${directory}${path}`, end };
  }
  const kind = await kindOf(backend);
  await kind.install();
  const server = await kind.start();
  return { server, url: server.url, end: () => server.stop() };
}
