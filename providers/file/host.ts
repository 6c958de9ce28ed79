/**
 * Who a process is, and whether it is dead, as far as that can be proved. Only Linux offers the proof; elsewhere, and in
 * Deno without `--allow-all` (it guards `/proc`), no process counts as dead.
 *
 * @module
 */

import { readFile, readlink } from "node:fs/promises";
import process from "node:process";

/** A process, so named that no other is ever taken for it. */
export interface Holder {
  /** The boot of the kernel, and the namespaces in which the next two mean something. */
  readonly host: string;
  /** The process id. */
  readonly pid: number;
  /** When it started, in clock ticks since boot: tells it from a later process with the same id. */
  readonly startTime: string;
}

let own: Holder | null = null;

/** Returns this process; null where its death could not be proved anyway. */
export async function ownHolder(): Promise<Holder | null> {
  return own ??= await identify().catch(() => null);
}

async function identify(): Promise<Holder | null> {
  // A /proc of another pid namespace would show us a stranger under our number.
  if (await readlink("/proc/self") !== String(process.pid)) return null;
  const [boot, pids, times, stat] = await Promise.all([
    readFile("/proc/sys/kernel/random/boot_id", "utf8"),
    readlink("/proc/self/ns/pid"),
    readlink("/proc/self/ns/time").catch(() => ""),
    readFile("/proc/self/stat", "utf8"),
  ]);
  const { startTime } = parseStat(stat);
  return startTime === "" ? null : { host: `${boot.trim()} ${pids} ${times}`, pid: process.pid, startTime };
}

/**
 * Returns whether `holder` is certainly dead. True only for a process of this boot in this pid namespace: containers that
 * share a directory cannot judge each other's processes, and must wait for the lease to expire.
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
  const stat = await readFile(`/proc/${holder.pid}/stat`, "utf8").catch(() => "");
  const { state, startTime } = parseStat(stat);
  if (startTime === "") return false;
  // A zombie has ended and waits for its parent to notice: it runs no code any more.
  return startTime !== holder.startTime || state === "Z" || state === "X";
}

/** Takes the third and the twenty-second field. The second is a program's name, which may hold spaces and parentheses. */
function parseStat(stat: string): { state: string; startTime: string } {
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] ?? "", startTime: fields[19] ?? "" };
}

/** Returns whether `error` is a system error with this code. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && typeof error.code === "string" && codes.includes(error.code);
}
