/** How long after a leader's process was killed does another one lead? Beside the length of the lease. */

import type { Measurement, Setting } from "../measurement.ts";
import { ContenderProcess, until } from "../processes.ts";

/** Measures it. */
export async function* crash({ backend, url, quick, runs }: Setting): AsyncIterable<Measurement> {
  // What the slowest backend allows as the shortest.
  const lease = backend === "azure-blob" ? 15_000 : 3_000;
  const times: number[] = [];
  for (let run = 0; run < (quick ? 1 : runs); run++) {
    const group = `crash-${crypto.randomUUID()}`;
    const contenders = [1, 2].map(() => ContenderProcess.ofGroup(url, group, 1, lease));
    try {
      await Promise.all(contenders.map(({ ready }) => ready));
      const leader = await until("a leader", () => contenders.find(({ led }) => led.length > 0));
      const killed = leader.kill();
      const other = contenders.find((each) => each !== leader);
      times.push(await until("a take-over", () => other?.led[0], 10 * lease) - killed);
    } finally {
      await Promise.all(contenders.map((contender) => contender[Symbol.asyncDispose]()));
    }
  }
  yield { suite: "crash", backend, what: "the lease", unit: "ms", runs: [lease] };
  yield { suite: "crash", backend, what: "to the next leader", unit: "ms", runs: times, beside: "the lease" };
}
