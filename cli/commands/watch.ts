/**
 * `elect watch`: every change of leadership, as it happens.
 *
 * @module
 */

import process from "node:process";
import type { LeaderElection, LeaderInfo } from "../../mod.ts";
import { redact } from "../../src/redact.ts";
import { systemClock } from "../../src/time/clock.ts";
import type { Command, Invocation } from "../args.ts";
import { drawChart } from "../chart.ts";
import { EXIT } from "../exit.ts";
import { describeLeader, outputTo } from "../output.ts";
import type { Use } from "../scope.ts";
import { onSignal } from "../signals.ts";
import { electionOf, openTarget, patience } from "../target.ts";

/** The time between two drawings of a chart, and the greatest age of its contents, in milliseconds. */
const [FRAME_MS, FRESH_MS] = [200, 1_000];
const [HIDE_CURSOR, SHOW_CURSOR, CLEAR_DOWN] = ["\x1b[?25l", "\x1b[?25h", "\x1b[J"];

/** `elect watch`. */
export const watchCommand: Command = {
  name: "watch",
  usage: "GROUP...",
  summary: "Prints who leads each GROUP now, and every change from then on.",
  details: `Watches only, and never campaigns. --chart draws a line a group instead, with the lease as it drains and is
renewed; where there is no terminal, it prints as without. Ends with SIGINT or SIGTERM, which is success.`,
  example: "elect watch nightly --json",
  options: ["chart"],
  run: watch,
};

/** An election that is watched. */
interface Watched {
  readonly group: string;
  readonly election: LeaderElection;
}

async function watch(invocation: Invocation, use: Use): Promise<number> {
  const provider = use(await openTarget(invocation));
  const elections = invocation.groups.map((group) => {
    const election = use(electionOf(provider, { ...invocation, group }, { observer: true }).election);
    return { group, election };
  });
  use(onSignal((_signal, ending) => ending && elections.forEach(({ election }) => void election.stop())));
  // A wrong URL is better told at once than waited for. Later failures are waited out.
  for (const { group } of elections) await provider.read(group, patience());
  const draws = invocation.chart && !invocation.json && process.stdout.isTTY === true && process.env["TERM"] !== "dumb";
  await (draws ? draw(elections) : Promise.all(elections.map((each) => print(each, invocation))));
  return EXIT.done;
}

async function print({ group, election }: Watched, { json }: Invocation): Promise<void> {
  const output = outputTo(process.stdout, json);
  const tell = (at: Date, current: LeaderInfo | null, previous: LeaderInfo | null) =>
    output.print(`${output.faint(at.toISOString())}  ${describeLeader(group, current, output)}`, {
      at,
      electionGroup: group,
      current,
      previous,
    });
  const changes = election.changes();
  await election.start();
  // A leader that the first look found comes as the first change; that there is none does not.
  if (election.status.currentLeader === null) tell(new Date(), null, null);
  for await (const change of changes) tell(change.at, change.current, change.previous);
}

/** The last news of a leader. A lease that was renewed in full tells how long leases live. */
interface Heard {
  leader: LeaderInfo | null;
  at: number;
  leaseMs: number;
  error: string | undefined;
}

/** Draws over what was drawn before, until all elections have ended. The last picture stays. */
async function draw(elections: readonly Watched[]): Promise<void> {
  const heard = elections.map((): Heard => ({ leader: null, at: 0, leaseMs: 1, error: undefined }));
  const listen = async ({ election }: Watched, into: Heard) => {
    try {
      into.leader = await election.getCurrentLeader({ signal: AbortSignal.timeout(FRESH_MS) });
      into.leaseMs = Math.max(into.leaseMs, into.leader?.expiresIn ?? 0);
      into.error = undefined;
    } catch (error) {
      into.error = redact(error instanceof Error ? error.message : String(error));
    }
    into.at = systemClock.monotonic();
  };
  let lines = 0;
  const frame = () => {
    const now = systemClock.monotonic();
    const rows = elections.map(({ group }, index) => {
      const { leader, at, leaseMs, error } = heard[index] ?? { leader: null, at: 0, leaseMs: 1, error: undefined };
      const expiresIn = leader?.expiresIn === undefined || leader.expiresIn === null
        ? null
        : Math.max(0, leader.expiresIn - (now - at));
      const termMs = leader === null ? 0 : systemClock.wall() - leader.leadershipAcquiredAt.getTime();
      return { group, leader: leader && { ...leader, expiresIn }, leaseMs, termMs, error };
    });
    const picture = drawChart(rows, process.stdout.columns ?? 80);
    const up = lines > 0 ? `\x1b[${lines}A` : "";
    process.stdout.write(`${up}\r${CLEAR_DOWN}${picture.join("\n")}\n`);
    lines = picture.length;
  };
  const changes = elections.map(({ election }) => election.changes());
  const ended = Promise.all(changes.map(async (each, index) => {
    const [watched, into] = [elections[index], heard[index]];
    for await (const _ of each) if (watched !== undefined && into !== undefined) await listen(watched, into);
  }));
  process.stdout.write(HIDE_CURSOR);
  const timers = [
    setInterval(frame, FRAME_MS),
    ...elections.map((each, index) => setInterval(() => void listen(each, heard[index] as Heard), FRESH_MS)),
  ];
  try {
    await Promise.all(elections.map(async (each, index) => {
      await each.election.start();
      await listen(each, heard[index] as Heard);
    }));
    frame();
    await ended;
  } finally {
    for (const timer of timers) clearInterval(timer);
    process.stdout.write(SHOW_CURSOR);
  }
}
