/**
 * Serves elections over HTTP until it is told to end.
 *
 * @module
 */

import process from "node:process";
import type { Invocation } from "../args.ts";
import { EXIT, UsageError } from "../exit.ts";
import { outputTo } from "../output.ts";
import type { Use } from "../scope.ts";
import { onSignal } from "../signals.ts";
import { electionOf, openTarget } from "../target.ts";
import { readToken } from "./access.ts";
import { apiOf } from "./api.ts";
import { EventStream } from "./event_stream.ts";
import { listen, type Place } from "./listener.ts";
import { Metrics } from "./metrics.ts";
import { loadPackages } from "./packages.ts";
import { ServedElection } from "./served_election.ts";

/** Carries out `elect serve`. */
export async function serve(invocation: Invocation, use: Use): Promise<number> {
  const { groups, observe, host, port, socket, allowHosts, json } = invocation;
  if (new Set(groups).size < groups.length) throw new UsageError("Cannot serve a group twice");
  const token = readToken(invocation.tokenFile);
  const packages = await loadPackages();
  const provider = use(await openTarget(invocation));
  const metrics = new Metrics(packages);
  const all = new EventStream();
  const elections = groups.map((group) => {
    const { election, config } = electionOf(provider, { ...invocation, group }, {
      observer: observe,
      onMeasurement(measurement) {
        metrics.record({ group, provider: provider.name }, measurement);
        if (measurement.name === "validity.remaining") served.renewed();
      },
    });
    const served = new ServedElection(election, config, provider, all);
    const { events } = served;
    metrics.add({
      group,
      provider: provider.name,
      stats: () => election.stats(),
      get readers() {
        return events.readers;
      },
      get dropped() {
        return events.dropped;
      },
    });
    return served;
  });
  const place: Place = socket === undefined ? { host, port } : { socket };
  const names = socket === undefined
    ? new Set(["localhost", host, ...allowHosts].map((name) => name.toLowerCase()))
    : null;
  const app = apiOf(packages, { elections, all, provider, metrics, names, token });
  const ended = Promise.withResolvers<void>();
  use(onSignal((_signal, ending) => ending && ended.resolve()));
  const listener = await listen(packages, place, app.fetch);
  try {
    const started = Promise.all(elections.map((each) => each.start()));
    started.catch(() => {});
    const output = outputTo(process.stdout, json);
    output.print(`serving ${groups.join(", ")} at ${listener.address}`, {
      event: "serving",
      groups,
      at: listener.address,
    });
    await Promise.race([ended.promise, started.then(() => ended.promise)]);
  } finally {
    // Leadership first: others may lead while the last readers are still told of it.
    await Promise.all(elections.map((each) => each.stop()));
    all.close();
    await listener.close();
  }
  return EXIT.done;
}
