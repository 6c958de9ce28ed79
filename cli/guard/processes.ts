/**
 * Processes and process groups of this host: who they are, whether they live, and how they are ended.
 *
 * @module
 */

import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import process from "node:process";
import { sleep, systemClock } from "../../src/time/clock.ts";

/** One living process of a group. */
export interface Member {
  readonly pid: number;
  /** The user that it runs as. */
  readonly uid: number;
}

/** The outcome of a signal: somebody got it, nobody is there, or this user may not send it to any of them. */
export type Sent = "sent" | "nobody" | "forbidden";

/** The time between two looks at a group that is being ended, in milliseconds: at first, and once it is stuck. */
const LOOK_MS = 10;
const STUCK_LOOK_MS = 500;
/** Where no /proc tells of zombies, what takes longer to end than this is taken for one, in milliseconds. */
const BLIND_PATIENCE_MS = 5_000;

/** Sends `signal` to every process of a group that may get it from this user. */
export function signalGroup(processGroup: number, signal: NodeJS.Signals): Sent {
  return send(-processGroup, signal);
}

/**
 * Returns the processes of a group that have not ended; null where this platform does not tell. One that has ended, and
 * that nobody has mourned, runs no more code: it counts only while another of its threads goes on.
 */
export function membersOf(processGroup: number): readonly Member[] | null {
  return scan(processGroup)?.living ?? null;
}

/** Returns whether nothing of a process group is alive; false where that is unknown. */
export function isGroupGone(processGroup: number): boolean {
  if (send(-processGroup, 0) === "nobody") return true;
  const found = scan(processGroup);
  // None at all are found where those of other users are hidden, which the kernel's own answer contradicts.
  return found !== null && found.living.length === 0 && found.zombies > 0;
}

/**
 * Kills a process group until nothing of it is alive. `stuck` is told once if that takes long: a process in the middle
 * of a disk access ends when it is through, and one of another user when it likes.
 */
export async function endGroup(
  processGroup: number,
  { stuck, stuckAfterMs = 1_000 }: { stuck: (members: readonly Member[]) => void; stuckAfterMs?: number },
): Promise<void> {
  const start = systemClock.monotonic();
  let told = false;
  for (let wait = 1;; wait = Math.min(wait * 2, told ? STUCK_LOOK_MS : LOOK_MS)) {
    signalGroup(processGroup, "SIGKILL");
    if (isGroupGone(processGroup)) return;
    const took = systemClock.monotonic() - start;
    if (took >= BLIND_PATIENCE_MS && membersOf(processGroup) === null) return;
    if (!told && took >= stuckAfterMs) {
      told = true;
      stuck(membersOf(processGroup) ?? []);
    }
    await sleep(systemClock, wait);
  }
}

/** Tells a process group to end, and waits until nothing of it is alive, `graceMs` at most. */
export async function askToEnd(processGroup: number, graceMs: number): Promise<void> {
  const start = systemClock.monotonic();
  signalGroup(processGroup, "SIGTERM");
  while (!isGroupGone(processGroup) && systemClock.monotonic() - start < graceMs) await sleep(systemClock, LOOK_MS);
}

/** Describes processes that cannot be ended. */
export function describeMembers(members: readonly Member[]): string {
  if (members.length === 0) return "a process of it";
  return members.map(({ pid, uid }) => `process ${pid} of user id ${uid}`).join(", ");
}

/** Returns the user that this process runs as; 0, who may signal everybody, where that is unknown or means nothing. */
export function ownUser(): number {
  try {
    return process.geteuid?.() ?? 0;
  } catch {
    // Deno asks for a permission, and was told no.
    return 0;
  }
}

/**
 * Returns when a process started, in clock ticks since boot: with its id, that names it for ever. Null if it is
 * unknown.
 */
export function startTimeOf(pid: number): string | null {
  return statOf(pid)?.startTime ?? null;
}

/**
 * Returns the boot of the kernel and the namespace in which process ids mean something here; null where it is unknown.
 */
export function hostIdentity(): string | null {
  try {
    // A /proc of another namespace would show strangers under our numbers.
    if (readlinkSync("/proc/self") !== String(process.pid)) return null;
    return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()} ${readlinkSync("/proc/self/ns/pid")}`;
  } catch {
    return null;
  }
}

/** Returns whether a process began with the variable `assignment`, such as `NAME=value`, in its environment. */
export function hasVariable(pid: number, assignment: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8").split("\0").includes(assignment);
  } catch {
    return false;
  }
}

function send(target: number, signal: NodeJS.Signals | 0): Sent {
  try {
    process.kill(target, signal);
    return "sent";
  } catch (error) {
    return (error as { code?: unknown }).code === "ESRCH" ? "nobody" : "forbidden";
  }
}

function scan(processGroup: number): { living: Member[]; zombies: number } | null {
  if (statOf(process.pid) === null) return null;
  const living: Member[] = [];
  let zombies = 0;
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const stat = statOf(Number(name));
    if (stat?.processGroup !== processGroup) continue;
    const uid = ownerOf(name);
    if (stat.isOver) zombies++;
    else if (uid !== null) living.push({ pid: Number(name), uid });
  }
  return { living, zombies };
}

/** Null if the process has ended since it was found. */
function ownerOf(name: string): number | null {
  try {
    return statSync(`/proc/${name}`).uid;
  } catch {
    return null;
  }
}

/** Takes what matters from /proc. The second field is a program's name, which may hold spaces and parentheses. */
function statOf(pid: number): { isOver: boolean; processGroup: number; startTime: string } | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state = "", , processGroup] = fields;
    const isOver = state === "X" || state === "Z" && Number(fields[17]) <= 1;
    return { isOver, processGroup: Number(processGroup), startTime: fields[19] ?? "" };
  } catch {
    return null;
  }
}
