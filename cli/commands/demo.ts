/**
 * `elect demo`: an election of several processes, made visible.
 *
 * @module
 */

import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { sleep, systemClock } from "../../src/time/clock.ts";
import { ElectionError } from "../../src/errors.ts";
import type { Command, Invocation } from "../args.ts";
import type { Report } from "./demo_participant.ts";
import { EXIT } from "../exit.ts";
import { readLines } from "../lines.ts";
import { type Output, outputTo } from "../output.ts";
import { startModule } from "../runtime.ts";
import { scoped, type Use } from "../scope.ts";
import { exitCodeOfSignal, onSignal } from "../signals.ts";
import { openTarget, targetOf } from "../target.ts";

const NAMES = ["anna", "bela", "cora"] as const;
const GROUP = "elect-demo";
/** The demo ends by itself within 20 seconds; this leaves some for its end. */
const LIMIT_MS = 19_000;
/** The time for which each leader is left in peace. */
const REIGN_MS = 700;

/** `elect demo`. */
export const demoCommand: Command = {
  name: "demo",
  usage: "",
  summary: "Shows an election: three processes, one leads, is killed, another takes over.",
  details: `Uses a directory of its own under the system's temporary one, unless --provider or ELECT_PROVIDER says
otherwise, and ends by itself within 20 seconds. Exit code: 0 if a leader was always found, tokens grew, and no two
participants led at the same time.`,
  example: "elect demo",
  options: [],
  run: demo,
};

async function demo(invocation: Invocation, use: Use): Promise<number> {
  const output = outputTo(process.stdout, invocation.json);
  const given = Boolean(invocation.provider || process.env["ELECT_PROVIDER"]);
  const directory = given ? null : await mkdtemp(join(tmpdir(), "elect-demo-"));
  const provider = directory === null ? targetOf(invocation) : pathToFileURL(directory).href;
  const over = new AbortController();
  use(onSignal((signal, ending) => ending && over.abort(signal)));
  const stage = new Stage(output, over.signal);
  try {
    const { heartbeatInterval, heartbeatTimeout } = await timingFor({ ...invocation, provider });
    const instructions = { ...invocation, provider, group: GROUP, heartbeatInterval, heartbeatTimeout };
    for (const name of NAMES) stage.enter(name, { ...instructions, id: name });
    await play(stage);
    return stage.verdict();
  } catch (error) {
    if (over.signal.aborted) return exitCodeOfSignal(over.signal.reason as NodeJS.Signals);
    throw error;
  } finally {
    await stage.clear();
    if (directory !== null) await rm(directory, { recursive: true, force: true });
  }
}

async function play(stage: Stage): Promise<void> {
  // A leader that hands over must have somebody to hand over to: on a busy machine, processes take seconds to start.
  await stage.assembled();
  const first = await stage.nextLeader();
  await stage.rest();
  stage.kill(first, "is killed with SIGKILL, and can tell nobody");
  const second = await stage.nextLeader();
  await stage.rest();
  stage.stop(second, "stops, and hands over");
  await stage.nextLeader();
  await stage.rest();
}

/** Short leases, so that the demo is; as long as the provider wants them at least. */
async function timingFor(invocation: Invocation): Promise<{ heartbeatInterval: number; heartbeatTimeout: number }> {
  const { minTimeout } = await scoped(async (use) => use(await openTarget(invocation)).capabilities);
  const heartbeatTimeout = Math.max(2_000, minTimeout);
  return { heartbeatInterval: heartbeatTimeout / 4, heartbeatTimeout };
}

/** A reign as the demo saw it: the times at which its leader's `isLeader` was first and last seen true. */
interface Reign {
  readonly name: string;
  readonly token: bigint;
  readonly from: number;
  until: number;
}

/** The participants, what they report, and what the audience is told. */
class Stage {
  readonly #output: Output;
  readonly #signal: AbortSignal;
  readonly #start = systemClock.monotonic();
  readonly #players = new Map<string, ChildProcess>();
  readonly #reigns: Reign[] = [];
  #entered = 0;
  #announced = 0;
  #leftAt: number | null = null;
  #changed: () => void = () => {};

  constructor(output: Output, signal: AbortSignal) {
    this.#output = output;
    this.#signal = AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
    this.#signal.addEventListener("abort", () => this.#changed());
  }

  /** Starts a participant. Its instructions hold the provider's URL, and so go through its standard input. */
  enter(name: string, instructions: Invocation): void {
    const player = startModule("demo_participant", import.meta.url, ["--allow-all"], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#players.set(name, player);
    player.stdin?.on("error", () => {});
    player.stdin?.write(`${JSON.stringify(instructions)}\n`);
    if (player.stdout) readLines(player.stdout, (line) => this.#take(name, JSON.parse(line) as Report));
  }

  /** Waits until all participants campaign. */
  async assembled(): Promise<void> {
    await this.#until(() => this.#entered === this.#players.size);
  }

  /** Waits for the next reign, and announces it. */
  async nextLeader(): Promise<string> {
    await this.#until(() => this.#reigns.length > this.#announced);
    const reign = this.#reigns[this.#announced++];
    if (reign === undefined) throw new ElectionError("Cannot find the next leader");
    const handOffMs = this.#leftAt === null ? null : systemClock.monotonic() - this.#leftAt;
    const after = handOffMs === null ? "" : `, ${(handOffMs / 1_000).toFixed(3)} s after`;
    this.#say(reign.name, `leads under token ${reign.token}${after}`, {
      event: "leads",
      token: reign.token,
      handOffMs,
    });
    return reign.name;
  }

  /** Lets the leader lead for a while. */
  async rest(): Promise<void> {
    await sleep(systemClock, REIGN_MS, this.#signal).catch(() => {});
    this.#check();
  }

  kill(name: string, text: string): void {
    this.#leave(name, text, "killed", (player) => player.kill("SIGKILL"));
  }

  stop(name: string, text: string): void {
    this.#leave(name, text, "stopped", (player) => player.stdin?.write("stop\n"));
  }

  /** Returns the exit code: 0 if every promise held. */
  verdict(): number {
    const reigns = this.#reigns;
    const pairs = reigns.slice(1).map((reign, index) => [reigns[index] ?? reign, reign] as const);
    const grew = pairs.every(([earlier, later]) => earlier.token < later.token);
    const alone = pairs.every(([earlier, later]) => earlier.until <= later.from);
    const tokens = reigns.map(({ token }) => token);
    const kept = grew && alone && reigns.length >= NAMES.length;
    this.#output.print(
      kept
        ? `Every promise held: tokens grew (${tokens.join(", ")}), and at no time did two lead.`
        : `A promise was broken: ${grew ? "" : `tokens did not grow (${tokens.join(", ")}). `}${
          alone ? "" : "Two participants led at the same time."
        }`,
      { event: "verdict", kept, tokens, tokensGrew: grew, neverTwoLeaders: alone },
    );
    return kept ? EXIT.done : EXIT.software;
  }

  /** Ends whoever is left. */
  async clear(): Promise<void> {
    const players = [...this.#players.values()].filter((player) =>
      player.exitCode === null && player.signalCode === null
    );
    const ended = players.map((player) => new Promise<void>((resolve) => player.once("exit", () => resolve())));
    for (const player of players) player.kill("SIGKILL");
    await Promise.all(ended);
  }

  #leave(name: string, text: string, event: string, leave: (player: ChildProcess) => void): void {
    this.#say(name, text, { event });
    this.#leftAt = systemClock.monotonic();
    const player = this.#players.get(name);
    if (player !== undefined) leave(player);
  }

  #take(name: string, report: Report): void {
    if (report.event === "started") {
      this.#entered++;
      this.#say(name, `has entered election group ${GROUP}`, { event: "entered", pid: this.#players.get(name)?.pid });
      return this.#changed();
    }
    const token = BigInt(report.token);
    const reign = this.#reigns.find((reign) => reign.name === name && reign.token === token);
    if (reign !== undefined) {
      reign.until = report.at;
    } else {
      this.#reigns.push({ name, token, from: report.at, until: report.at });
      this.#changed();
    }
  }

  async #until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      this.#check();
      await new Promise<void>((resolve) => this.#changed = resolve);
    }
  }

  #check(): void {
    if (!this.#signal.aborted) return;
    const missing = this.#players.size - this.#entered;
    const why = missing > 0
      ? `${missing} of ${this.#players.size} participants did not start`
      : `nobody came to lead ${GROUP}`;
    throw new ElectionError(`Cannot show an election: ${why} within ${LIMIT_MS / 1_000} s`);
  }

  #say(name: string, text: string, data: Readonly<Record<string, unknown>>): void {
    const seconds = ((systemClock.monotonic() - this.#start) / 1_000).toFixed(3);
    this.#output.print(
      `${this.#output.faint(`${seconds.padStart(7)} s`)}  ${this.#output.strong(name)} ${text}`,
      { at: Number(seconds), participantId: name, ...data },
    );
  }
}
