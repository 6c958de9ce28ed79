/**
 * What do a leader and a follower ask of a provider in a minute, while nothing happens, with a lease of 3 s (15 s on
 * Azure)? Calls of the election; what a watch sends by itself is counted by the tests of each provider, at the server.
 */

import { LeaderElection } from "../../mod.ts";
import { ForwardingProvider } from "../../src/forwarding_provider.ts";
import type { Provider } from "../../src/provider.ts";
import { sleep, systemClock } from "../../src/time/clock.ts";
import { openBackend } from "../backend.ts";
import type { Measurement, Setting } from "../measurement.ts";

/** Measures it. */
export async function* idle({ backend, url, quick }: Setting): AsyncIterable<Measurement> {
  const lease = backend === "azure-blob" ? 15_000 : 3_000;
  const timing = { heartbeatTimeout: lease, heartbeatInterval: lease / 3, requestTimeout: lease / 4, logger: null };
  const electionGroup = `idle-${crypto.randomUUID()}`;
  const opened = await Promise.all([1, 2].map(() => openBackend(url)));
  const counters = opened.map(({ provider }) => count(provider));
  const elections = counters.map(({ provider }) => new LeaderElection(provider, { electionGroup, ...timing }));
  for (const election of elections) await election.start();
  await sleep(systemClock, 1_000);
  const before = counters.map(({ calls }) => calls());
  const start = performance.now();
  const cpu = cpuMs();
  await sleep(systemClock, quick ? 6_000 : 30_000);
  const minutes = (performance.now() - start) / 60_000;
  const spent = (cpuMs() - cpu) / minutes;
  const rates = counters.map(({ calls }, index) => (calls() - (before[index] ?? 0)) / minutes);
  await Promise.all(elections.map((election) => election.stop()));
  await Promise.all(opened.map((each) => each.close()));
  for (const [index, what] of ["leader", "follower"].entries()) {
    yield { suite: "idle", backend, what, unit: "calls/min", runs: [rates[index] ?? NaN] };
  }
  yield { suite: "idle", backend, what: "CPU of both", unit: "ms/min", runs: [spent] };
}

function cpuMs(): number {
  const { user, system } = globalThis.process.cpuUsage();
  return (user + system) / 1_000;
}

function count(target: Provider): { provider: Provider; calls(): number } {
  let calls = 0;
  const counted = <A extends unknown[], R>(call: (...args: A) => R) => (...args: A): R => {
    calls++;
    return call(...args);
  };
  const provider = Object.assign(new ForwardingProvider(target), {
    acquire: counted(target.acquire.bind(target)),
    renew: counted(target.renew.bind(target)),
    release: counted(target.release.bind(target)),
    read: counted(target.read.bind(target)),
  });
  return { provider, calls: () => calls };
}
