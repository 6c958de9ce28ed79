/** Runs a range of seeds, of the simulation that stands under `root`, in a thread of its own. */

/** What the thread is asked to do. */
export interface SimulationJob {
  /** The URL of the directory that holds `tests/simulation/`. */
  readonly root: string;
  /** The first seed. */
  readonly from: number;
  /** How many seeds. */
  readonly count: number;
  /** Whether to go on after a violation, to see whether two leaders come of it. */
  readonly untilOverlap?: boolean;
}

/** What it answers. */
export interface SimulationReport {
  readonly seeds: number;
  readonly terms: number;
  readonly events: number;
  /** The meetings of calls that were seen; see `meetings.ts`. */
  readonly meetings: readonly string[];
  /** The first seed that violates a property, where it ended. */
  readonly failure: { readonly seed: number; readonly property: string; readonly what: string } | null;
  /** The first seed in which two led at once. */
  readonly overlap: number | null;
}

declare const self: {
  onmessage: ((event: MessageEvent<SimulationJob>) => void) | null;
  postMessage(report: SimulationReport): void;
};

self.onmessage = async ({ data: { root, from, count, untilOverlap } }) => {
  const { makeScenario, simulate }: typeof import("./simulation.ts") = await import(
    new URL("tests/simulation/simulation.ts", root).href
  );
  let [terms, events, seeds] = [0, 0, 0];
  const meetings = new Set<string>();
  let failure: SimulationReport["failure"] = null;
  let overlap: number | null = null;
  while (seeds < count && (failure === null || (untilOverlap && overlap === null))) {
    const seed = from + seeds++;
    const result = await simulate(makeScenario(seed));
    terms += result.terms;
    events += result.events;
    for (const meeting of result.meetings) meetings.add(meeting);
    if (result.violation === null) continue;
    const { property, what } = result.violation;
    failure ??= { seed, property, what };
    if (property === "S1") overlap = seed;
  }
  self.postMessage({ seeds, terms, events, meetings: [...meetings], failure, overlap });
};
