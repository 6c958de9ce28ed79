/** The faults of a chaos run, drawn from a seed. */

import { sleep, systemClock } from "../../src/time/clock.ts";
import type { Random } from "../simulation/random.ts";
import type { TestServer } from "../servers/server.ts";
import type { Contestant } from "./contestant.ts";
import type { ProxyMode } from "./proxy.ts";

/** What faults act on. */
export interface Arena {
  readonly contestants: readonly [Contestant, ...Contestant[]];
  /** Null where the backend has no server. */
  readonly server: TestServer | null;
  /** Whether the server still knows its leases after it was killed. */
  readonly isDurable: boolean;
  /** How long a lease lives, in milliseconds; what a fault's length is measured by. */
  readonly leaseMs: number;
  /** The participant that was last seen to lead. */
  leader(): Contestant | undefined;
  /** Since when the server answers; null while it does not. */
  serverSince: number | null;
}

/** One fault: what it is called, and what it does. It resolves when it is over. */
interface Fault {
  readonly name: string;
  run(arena: Arena, random: Random): Promise<void>;
}

const wait = (ms: number) => sleep(systemClock, ms);

/** A participant, more often than not the one that leads: that is where it hurts. */
function victim(arena: Arena, random: Random): Contestant {
  const leader = arena.leader();
  return leader !== undefined && random.chance(0.6) ? leader : random.pick(arena.contestants);
}

/** Does `harm` to a participant for a while, and notes that it ails. */
async function ail(contestant: Contestant, ms: number, harm: () => void, heal: () => void): Promise<void> {
  contestant.healthySince = null;
  harm();
  await wait(ms);
  heal();
  contestant.healthySince = systemClock.monotonic();
}

/** Does `harm` to the server, for as long as `until` takes. */
async function disturb(arena: Arena, harm: () => Promise<void>, ms: number, heal: () => Promise<void>): Promise<void> {
  arena.serverSince = null;
  await harm();
  await wait(ms);
  await heal();
  arena.serverSince = systemClock.monotonic();
}

const KILL: Fault = {
  name: "kill",
  run(arena, random) {
    victim(arena, random).signal("SIGKILL");
    return Promise.resolve();
  },
};

const RETIRE: Fault = {
  name: "terminate",
  run(arena, random) {
    victim(arena, random).signal("SIGTERM");
    return Promise.resolve();
  },
};

const STOP: Fault = {
  name: "freeze process",
  run(arena, random) {
    const contestant = victim(arena, random);
    const ms = random.chance(0.5) ? random.ms(50, arena.leaseMs / 2) : random.ms(arena.leaseMs, arena.leaseMs * 1.5);
    return ail(contestant, ms, () => contestant.signal("SIGSTOP"), () => contestant.signal("SIGCONT"));
  },
};

const slow = (mode: ProxyMode): Fault => ({
  name: mode,
  run(arena, random) {
    const contestant = victim(arena, random);
    const { proxy } = contestant;
    if (proxy === null) return STOP.run(arena, random);
    const ms = random.ms(arena.leaseMs / 4, arena.leaseMs * 1.5);
    return ail(contestant, ms, () => void (proxy.mode = mode), () => void (proxy.mode = "pass"));
  },
});

const CUT: Fault = {
  name: "reset",
  run(arena, random) {
    const { proxy } = victim(arena, random);
    proxy?.reset();
    return proxy === null ? KILL.run(arena, random) : Promise.resolve();
  },
};

const HALF: Fault = {
  name: "half-close",
  run(arena, random) {
    const { proxy } = victim(arena, random);
    proxy?.halfClose(random.chance(0.5) ? "server" : "client");
    return proxy === null ? STOP.run(arena, random) : Promise.resolve();
  },
};

const CRASH: Fault = {
  name: "kill server",
  run(arena, random) {
    const { server } = arena;
    if (server === null) return KILL.run(arena, random);
    if (!arena.isDurable) return FREEZE.run(arena, random);
    return disturb(arena, () => server.kill(), random.ms(0, arena.leaseMs / 2), () => server.restart());
  },
};

/** Longer than the lease: nobody can renew, and everybody must notice by itself. */
const FREEZE: Fault = {
  name: "freeze server",
  run(arena, random) {
    const { server } = arena;
    if (server === null) return STOP.run(arena, random);
    const ms = random.ms(arena.leaseMs * 1.1, arena.leaseMs * 1.4);
    return disturb(arena, () => server.freeze(), ms, () => server.thaw());
  },
};

/** Each as often as it stands here. */
const FAULTS: readonly [Fault, ...Fault[]] = [
  ...[KILL, KILL, KILL, RETIRE, RETIRE, STOP, STOP, STOP, CUT, CUT, HALF],
  ...[slow("blackhole"), slow("blackhole"), slow("delay"), slow("trickle"), CRASH, CRASH],
] as [Fault, ...Fault[]];

/** Inflicts `count` faults, one after the other; the long freeze of the server among them, at least once in fifty. */
export async function inflict(arena: Arena, count: number, random: Random, counts: Map<string, number>): Promise<void> {
  for (let i = 1; i <= count; i++) {
    const fault = i % 25 === 0 ? FREEZE : random.pick(FAULTS);
    counts.set(fault.name, (counts.get(fault.name) ?? 0) + 1);
    await fault.run(arena, random);
    await wait(random.ms(50, Math.min(arena.leaseMs / 2, 1_000)));
  }
}
