/** Runs a range of seeds, of the simulation that stands under `root`, in a thread of its own. */

/** What the thread is asked to do. */
export interface SimulationJob {
  /** The URL of the directory that holds `testing/simulation.ts`. */
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
  const { makeScenario, simulate }: typeof import("../testing/simulation.ts") = await import(
    new URL("testing/simulation.ts", root).href
  );
  let [terms, events, seeds] = [0, 0, 0];
  let failure: SimulationReport["failure"] = null;
  let overlap: number | null = null;
  while (seeds < count && (failure === null || (untilOverlap && overlap === null))) {
    const seed = from + seeds++;
    const result = await simulate(makeScenario(seed));
    terms += result.terms;
    events += result.events;
    if (result.violation === null) continue;
    const { property, what } = result.violation;
    failure ??= { seed, property, what };
    if (property === "S1") overlap = seed;
  }
  self.postMessage({ seeds, terms, events, failure, overlap });
};
