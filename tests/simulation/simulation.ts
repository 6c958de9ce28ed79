/**
 * The deterministic simulation: real elections in one thread and virtual time, on clocks that drift and jump, in
 * processes that pause and die, over a network and a store that fail. One seed decides everything.
 *
 * @module
 */

import process from "node:process";
import { Actor, type Stage } from "./actor.ts";
import { Checker } from "./checker.ts";
import { History, type Violation } from "./history.ts";
import { Network } from "./network.ts";
import { Random } from "./random.ts";
import type { Meeting } from "./meetings.ts";
import { makeScenario } from "./make_scenario.ts";
import type { Scenario, Trouble } from "./scenario.ts";
import { SimulatedServer } from "./server.ts";
import { FencedSink } from "./sink.ts";
import { Process, World } from "./world.ts";

export { makeScenario, type Meeting, type Scenario, type Violation };
export { allMeetings } from "./meetings.ts";

/** What a simulation came to. */
export interface SimulationResult {
  /** The property that did not hold; null if all did. */
  readonly violation: Violation | null;
  /** How many leases were granted. */
  readonly terms: number;
  /** How many things happened. */
  readonly events: number;
  /** Which calls met which, and where their participant was. */
  readonly meetings: ReadonlySet<Meeting>;
  /** Writes down what happened, a line for each event. */
  timeline(): string;
}

/** More than this is a loop that never rests. */
const MOST_EVENTS = 60_000;

let stores = 0;

/**
 * Runs one scenario. The same scenario takes the same course each time, on every runtime.
 */
export async function simulate(scenario: Scenario): Promise<SimulationResult> {
  const simulation = new Simulation(scenario);
  const onRejection = (error: unknown) => simulation.history.violate("L6", `an unhandled rejection: ${error}`);
  process.on("unhandledRejection", onRejection);
  try {
    await simulation.run();
  } finally {
    process.off("unhandledRejection", onRejection);
  }
  const { history, meetings, server, world } = simulation;
  return {
    violation: history.violation ?? history.suspicion,
    terms: server.grants.length,
    events: world.count,
    meetings,
    timeline: () => history.toString(),
  };
}

/**
 * Cuts a scenario that violates a property down: steps and faults are left out as long as the same property is
 * violated. Returns the smallest that was found.
 */
export async function shrink(scenario: Scenario): Promise<Scenario> {
  const property = (await simulate(scenario)).violation?.property;
  if (property === undefined) return scenario;
  let smallest = scenario;
  for (const part of ["faults", "steps"] as const) {
    for (let size = Math.ceil(smallest[part].length / 2); size >= 1; size = size > 1 ? Math.ceil(size / 2) : 0) {
      for (let from = 0; from < smallest[part].length;) {
        const without = smallest[part].toSpliced(from, size);
        const candidate: Scenario = { ...smallest, [part]: without };
        if ((await simulate(candidate)).violation?.property === property) smallest = candidate;
        else from += size;
      }
    }
  }
  return smallest;
}

/** One run of a scenario. */
class Simulation {
  readonly world = new World();
  readonly history = new History(() => this.world.now);
  readonly server: SimulatedServer;
  readonly meetings: Set<Meeting> = new Set();
  readonly #scenario: Scenario;
  readonly #random: Random;
  readonly #checker: Checker;
  readonly #network: Network;
  readonly #stage: Stage;

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    this.#random = new Random(~scenario.seed);
    const { world, history } = this;
    world.quietAt = scenario.quietAt;
    this.server = new SimulatedServer(world, history, `simulation-${++stores}`);
    this.#network = new Network(world, this.#random.fork(), scenario.latencyMs);
    const checker = this.#checker = new Checker(scenario, world, history, this.server);
    this.#stage = {
      world,
      history,
      network: this.#network,
      server: this.server,
      sink: new FencedSink(this.server, history),
      timing: scenario.timing,
      watch: scenario.watch,
      refusesMetadata: scenario.refusesMetadata,
      meetings: this.meetings,
      onElected: (actor, term) => checker.onElected(actor, term),
      onDone: (actor, term) => checker.onDone(actor, term),
      onWork: (actor, work) => checker.onWork(actor, work),
      onChange: (actor, change, subscription) => checker.onChange(actor, change, subscription),
    };
    world.onInstant = () => {
      checker.look();
      for (const actor of checker.actors) actor.notice();
    };
    scenario.participants.forEach((_, who) => this.#admit(who));
    for (const step of scenario.steps) {
      world.at(step.at, () => {
        // Who it is at that moment: another process after a restart, none after a crash.
        const actor = this.#actor(step.who);
        if (actor) world.at(world.now, () => actor.do(step), actor.process);
      });
    }
    for (const fault of scenario.faults) world.at(fault.at, () => this.#inflict(fault));
  }

  async run(): Promise<void> {
    const { world, history } = this;
    const isOver = () => {
      if (world.count > MOST_EVENTS) history.violate("L6", `more than ${MOST_EVENTS} events: something never rests`);
      return history.violation !== null;
    };
    await world.run(this.#scenario.endAt, isOver);
    if (isOver()) return;
    this.#checker.checkSettled();
    for (const actor of this.#checker.actors) world.at(world.now, () => actor.do({ do: "stop" }), actor.process);
    // Long enough for every bound on a stop, and for slow readers to read what is left.
    await world.run(this.#scenario.endAt + 1_800_000, isOver);
    if (!isOver()) this.#checker.checkStopped();
  }

  #actor(who: number): Actor | undefined {
    return this.#checker.actors.find((actor) => actor.who === who);
  }

  #admit(who: number): Actor | null {
    const plan = this.#scenario.participants[who];
    if (plan === undefined) return null;
    const life = new Process(this.world, plan, this.#scenario.timerLatenessMs, this.#random.fork());
    const actor = new Actor(this.#stage, who, plan, life, this.#random.fork());
    this.#checker.actors.push(actor);
    return actor;
  }

  #inflict(fault: Trouble): void {
    const { world, server } = this;
    const during = (begin: () => void, end: () => void) => {
      begin();
      world.at(fault.until, end);
    };
    const target = this.#actor(fault.who);
    const whom = fault.who === -1 ? "all" : target?.name ?? "nobody";
    this.history.note("FAULT", () => `${describe(fault)} ${whom}, until ${fault.until}`);
    switch (fault.harm) {
      case "pause":
        return target && during(() => target.process.pause(), () => target.process.resume());
      case "suspend":
        return target && during(() => target.process.suspend(), () => target.process.wake());
      case "clock step":
        return target?.process.step(fault.byMs);
      case "crash":
        return target && this.#crash(target, fault.restarts ? fault.until : null);
      case "stalls":
        for (const { who, process } of this.#checker.actors) {
          if (fault.who !== -1 && who !== fault.who) continue;
          during(() => process.stalls = fault, () => process.stalls = { probability: 0, maxMs: 0 });
        }
        return;
      case "freeze":
        return during(() => server.freeze(), () => server.thaw());
      case "outage":
        return during(() => server.goDown(), () => server.comeBack());
      case "amnesia":
        return server.forget();
      default:
        return during(() => this.#network.faults.add(fault), () => this.#network.faults.delete(fault));
    }
  }

  #crash(victim: Actor, restartAt: number | null): void {
    victim.process.alive = false;
    this.#checker.actors.splice(this.#checker.actors.indexOf(victim), 1);
    if (restartAt === null) return;
    this.world.at(restartAt, () => {
      const successor = this.#admit(victim.who);
      successor?.do({ do: "start", signal: false });
      successor?.do({ do: "subscribe", readEveryMs: 0 });
    });
  }
}

function describe({ harm, at: _at, until: _until, who: _who, ...details }: Trouble): string {
  return [harm, ...Object.entries(details).map(([key, value]) => `${key}=${value}`), "to"].join(" ");
}
