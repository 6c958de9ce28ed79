/** What is measured, and how it is summed up. */

/** One line of the table: several runs of one thing. */
export interface Measurement {
  readonly suite: string;
  readonly backend: string;
  /** What was done. */
  readonly what: string;
  readonly unit: string;
  /** The median of each run, or the value. */
  readonly runs: readonly number[];
  /** The line of the same suite and backend beside which it stands. */
  readonly beside?: string;
}

/** What a suite is given. */
export interface Setting {
  readonly backend: string;
  readonly url: string;
  /** How many runs; each line has so many values. */
  readonly runs: number;
  /** Whether it should end within seconds. */
  readonly quick: boolean;
}

/** Measures one backend, line by line. */
export type Suite = (setting: Setting) => AsyncIterable<Measurement>;

/** Returns the value in the middle. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return ((low ?? NaN) + (high ?? NaN)) / 2;
}

/** Returns the median of `count` timings of `work`, in microseconds. */
export async function time(count: number, work: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await work();
    times.push((performance.now() - start) * 1_000);
  }
  return median(times);
}

/**
 * Times several things in turn, so that what else the machine does weighs on all of them. Each is timed `count` times a
 * run.
 */
export async function inTurn(
  { runs }: Setting,
  count: number,
  works: Readonly<Record<string, () => Promise<unknown>>>,
): Promise<Map<string, number[]>> {
  const results = new Map(Object.keys(works).map((name) => [name, [] as number[]]));
  for (const work of Object.values(works)) await time(Math.min(count, 10), work);
  for (let run = 0; run < runs; run++) {
    for (const [name, work] of Object.entries(works)) results.get(name)?.push(await time(count, work));
  }
  return results;
}

/** Returns the ratio of each line to the one beside which it stands; null where there is none. */
export function ratioOf(measurement: Measurement, all: readonly Measurement[]): number | null {
  const { suite, backend, beside } = measurement;
  const other = all.find((each) => each.suite === suite && each.backend === backend && each.what === beside);
  return other === undefined ? null : median(measurement.runs) / median(other.runs);
}
