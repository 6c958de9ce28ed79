/**
 * How long does nobody lead when a leader hands over to a participant in another process? From the call of
 * `releaseLeadership` to the event of the next leader; beside the bare round trip of a look that loses. And where does
 * that time go, where one waits?
 */

import { CARDS } from "../../providers/catalog.ts";
import { cardFor } from "../../src/registry.ts";
import { openBackend } from "../backend.ts";
import { type Measurement, median, type Setting, time } from "../measurement.ts";
import { peersOf } from "../peers/all.ts";
import { ContenderProcess, until } from "../processes.ts";
import { sleep, systemClock } from "../../src/time/clock.ts";

/**
 * For how long whoever led stays away: longer than the others may take, so that it is one of them who leads next. Where
 * the backend gives no hints, they look every `electionInterval`, 5 s.
 */
const COOLDOWN_MS = { hinted: 1_000, unhinted: 6_000 };

/** The parts of a hand-off, in order; the answer to the release comes at some time during the others. */
const PARTS = ["until the release is sent", "until the hint", "until the look", "the look", "until it leads"] as const;

/** Measures it. */
export async function* handOff(setting: Setting): AsyncIterable<Measurement> {
  const { backend, url, quick, runs } = setting;
  const line = { suite: "handoff", backend, unit: "ms" };
  const bare = await openBackend(url);
  await bare.bare.acquireWon();
  const trips: number[] = [];
  for (let run = 0; run < runs; run++) trips.push(await time(30, () => bare.bare.acquireLost()) / 1_000);
  await bare.bare.release();
  await bare.close();
  yield { ...line, what: "bare round trip", runs: trips };
  const { name = "", watch: isHinted = false } = cardFor(url, CARDS) ?? {};
  const cooldownMs = COOLDOWN_MS[isHinted ? "hinted" : "unhinted"];
  const rounds = isHinted ? (quick ? 3 : 5 * runs) : (quick ? 2 : runs);
  const summed = (what: string, times: readonly number[]): Measurement => {
    // As many runs as elsewhere: each the median of its part.
    const part = Math.ceil(times.length / runs);
    const medians = Array.from({ length: runs }, (_, run) => median(times.slice(run * part, (run + 1) * part)));
    return { ...line, what, runs: medians.filter(Number.isFinite), beside: "bare round trip" };
  };
  for (const [processes = 2, each = 1] of quick ? [[2, 1]] : [[2, 1], [5, 50]]) {
    const group = `handoff-${crypto.randomUUID()}`;
    const start = () => ContenderProcess.ofGroup(url, group, each, 15_000);
    const { times, parts, answers } = await measure(start, { processes, each }, rounds, cooldownMs);
    // Of several in a process, the next may be one that shares it.
    yield summed(each === 1 ? "to one of 1" : `among ${processes * each} of ${processes} processes`, times);
    if (processes * each > 2) continue;
    for (const [index, part] of PARTS.entries()) {
      yield { ...line, what: part, runs: parts.map((moments) => moments[index] ?? NaN).filter(Number.isFinite) };
    }
    yield { ...line, what: "the release's own answer", runs: answers };
  }
  for (const peer of quick ? [] : peersOf(name)) {
    const key = `handoff-${crypto.randomUUID()}`;
    const start = () => ContenderProcess.ofPeer(peer, url, key);
    const { times } = await measure(start, { processes: 2, each: 1 }, 3 * runs, COOLDOWN_MS.hinted);
    yield summed(`${peer}: to one of 1`, times);
  }
}

/** What hand-offs took, by round: all in all, in parts, and until the release was answered. */
interface HandOffs {
  readonly times: number[];
  readonly parts: number[][];
  readonly answers: number[];
}

async function measure(
  start: () => ContenderProcess,
  { processes, each }: { readonly processes: number; readonly each: number },
  rounds: number,
  cooldownMs: number,
): Promise<HandOffs> {
  const contenders = Array.from({ length: processes }, start);
  const [times, parts, answers]: [number[], number[][], number[]] = [[], [], []];
  try {
    await Promise.all(contenders.map(({ ready }) => ready));
    await until("a leader", () => contenders.find(({ led }) => led.length > 0));
    for (let round = 0; round < rounds; round++) {
      // Whoever led before must have cooled down.
      await sleep(systemClock, cooldownMs + 200);
      const led = contenders.map((contender) => contender.led.length);
      const freed = contenders.flatMap((contender) => contender.freed).length;
      const before = contenders.flatMap(({ released }) => released).length;
      // That one alone: the next could begin to lead before it reads the same line.
      const leader = contenders.reduce((a, b) => (b.led.at(-1) ?? 0) > (a.led.at(-1) ?? 0) ? b : a);
      await leader.handOver(cooldownMs);
      const next = await until("a hand-off", () => contenders.flatMap((one, i) => one.led.slice(led[i]))[0]);
      const [steps = []] = contenders.flatMap((one, i) => one.steps.slice(led[i]));
      const released = await until("its release", () => {
        const all = contenders.flatMap((contender) => contender.released).sort((a, b) => a - b);
        return all.length > before ? all.at(before) : undefined;
      });
      if (each === 1 && leader.led.at(-1) === next) throw new Error("Cannot measure: whoever led before leads again");
      times.push(next - released);
      const [answered = NaN, asked = NaN] = await until("its answer", () => {
        const all = contenders.flatMap((contender) => contender.freed).sort(([a = 0], [b = 0]) => a - b);
        return all.length > freed ? all.at(freed) : undefined;
      });
      answers.push(answered - asked);
      const moments = [released, asked, ...steps, next];
      parts.push(moments.slice(1).map((moment, index) => moment - (moments[index] ?? NaN)));
    }
  } finally {
    await Promise.all(contenders.map((contender) => contender[Symbol.asyncDispose]()));
  }
  return { times, parts, answers };
}
