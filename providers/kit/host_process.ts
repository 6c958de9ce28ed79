/**
 * The identity of a process, and its death, as far as that can be proved. Only Linux offers the proof; elsewhere, and
 * in Deno without `--allow-all` (it guards `/proc`), no process counts as dead.
 *
 * @module
 */

import { readFile, readlink } from "node:fs/promises";
import { hasCode } from "./file_failure.ts";
import process from "node:process";
import { Slots } from "./slots.ts";

/** A process, so named that no other is ever taken for it. */
export interface Holder {
  /** The boot of the kernel, the host's name, and the namespaces in which the next two mean something. */
  readonly host: string;
  /** The process id. */
  readonly pid: number;
  /** When it started, in clock ticks since boot: tells it from a later process with the same id. */
  readonly startTime: string;
}

/** The facts about processes that can be proved. */
export interface Processes {
  /**
   * Names this process first, then those with the ids `others`; null where the death of one could not be proved anyway.
   */
  identify(others: readonly number[]): Promise<readonly [Holder, ...Holder[]] | null>;
  /** Returns whether a process is certainly dead. */
  isDead(holder: Holder): Promise<boolean>;
}

/** The processes of this host. */
export const hostProcesses: Processes = { identify, isDead };

/** Thousands of followers may look at once, each at a file in `/proc`. */
const reads = new Slots(16);

let own: Promise<Holder | null> | null = null;

/** Returns this process; null where its death could not be proved anyway. */
export async function ownHolder(): Promise<Holder | null> {
  // One look for all who ask at once; a failure, such as too many open files, is not remembered.
  const self = await (own ??= identifyOwn().catch(() => null));
  if (self === null) own = null;
  return self;
}

async function identify(others: readonly number[]): Promise<readonly [Holder, ...Holder[]] | null> {
  const self = await ownHolder();
  if (self === null) return null;
  const all: [Holder, ...Holder[]] = [self];
  for (const pid of others) {
    const { startTime } = await statOf(pid);
    // One that is gone already, or that another namespace knows by this number: nothing can be proved about it later.
    if (startTime === "") return null;
    all.push({ host: self.host, pid, startTime });
  }
  return all;
}

async function identifyOwn(): Promise<Holder | null> {
  // A /proc of another pid namespace would show us a stranger under our number.
  if (await readlink("/proc/self") !== String(process.pid)) return null;
  const [boot, name, pids, times, { startTime }] = await Promise.all([
    readFile("/proc/sys/kernel/random/boot_id", "utf8"),
    // A virtual machine that was copied while it ran has the boot of the first, and the same numbers of namespaces.
    readFile("/proc/sys/kernel/hostname", "utf8"),
    readlink("/proc/self/ns/pid"),
    readlink("/proc/self/ns/time").catch(() => ""),
    statOf(process.pid),
  ]);
  if (startTime === "") return null;
  return { host: `${boot.trim()} ${name.trim()} ${pids} ${times}`, pid: process.pid, startTime };
}

/**
 * Returns whether `holder` is certainly dead. True only for a process of this boot in this pid namespace: containers
 * that share a directory cannot judge each other's processes, and must wait for the lease to expire.
 */
export async function isDead(holder: Holder): Promise<boolean> {
  const self = await ownHolder();
  if (self === null || self.host !== holder.host) return false;
  if (self.pid === holder.pid && self.startTime === holder.startTime) return false;
  // Signal 0 asks the kernel. A missing file in /proc would not do: `hidepid` hides living processes too.
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (hasCode(error, "ESRCH")) return true;
    if (!hasCode(error, "EPERM")) return false;
  }
  const stat = await statOf(holder.pid);
  if (stat.startTime === "") return false;
  return stat.startTime !== holder.startTime || stat.ended;
}

async function statOf(pid: number): Promise<ProcessStat> {
  return parseStat(await reads.run(() => readFile(`/proc/${pid}/stat`, "utf8")).catch(() => ""));
}

/** The content of `/proc/PID/stat`. */
export interface ProcessStat {
  /** Empty where it could not be read. */
  readonly startTime: string;
  /** True once it runs no code any more. */
  readonly ended: boolean;
}

/**
 * Reads `/proc/PID/stat`: fields 3, 20 and 22. The second is a program's name, which may hold spaces and parentheses.
 */
export function parseStat(stat: string): ProcessStat {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state = "", threads = "", startTime = ""] = [fields[0], fields[17], fields[19]];
  // A zombie has ended, and waits for its parent to notice. But the first thread of a process that is being killed
  // becomes one while another is still inside a call to the kernel, such as a write to a slow disk.
  return { startTime, ended: (state === "Z" || state === "X") && Number(threads) <= 1 };
}
