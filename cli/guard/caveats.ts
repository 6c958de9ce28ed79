/**
 * The obstacles that keep `elect run` from ending its command, or from cleaning up after it, said before they matter.
 *
 * @module
 */

import { statSync } from "node:fs";
import { delimiter, join } from "node:path";
import process from "node:process";
import { systemClock } from "../../src/time/clock.ts";
import { type Member, membersOf, ownUser } from "./processes.ts";

const SET_USER_ID = 0o4000;
/** The time from a command's begin to the first look at it, and that between looks at last, in milliseconds. */
const FIRST_LOOK_MS = 250;
const LAST_LOOK_MS = 60_000;

/** Returns what is known before a command begins: a sentence each, without a subject, which is `elect`. */
export function caveatsOf(command: readonly string[]): string[] {
  const caveats: string[] = [];
  if (process.pid === 1) {
    caveats.push(
      "is process 1, and does not bury the orphans that its command leaves: start the container with an init " +
        "(docker run --init, or tini before elect)",
    );
  }
  const program = locate(command[0] ?? "");
  if (program !== null && changesUser(program)) {
    caveats.push(
      `may not be able to end its command when leadership is lost: "${program}" changes its user; ` +
        "run elect itself as that user (sudo elect run ..., not elect run ... sudo)",
    );
  }
  return caveats;
}

/**
 * Looks from time to time whether processes of a group have come to run as another user, whom this one may not signal;
 * calls `told` once with those, and looks no more. Root may signal everybody.
 */
export function watchForStrangers(processGroup: number, told: (members: readonly Member[]) => void): Disposable {
  const own = ownUser();
  let cancel = () => {};
  const look = (delayMs: number) => {
    cancel = systemClock.setTimer(() => {
      const strangers = (membersOf(processGroup) ?? []).filter(({ uid }) => uid !== own);
      if (strangers.length > 0) told(strangers);
      else look(Math.min(delayMs * 2, LAST_LOOK_MS));
    }, delayMs);
  };
  if (own !== 0) look(FIRST_LOOK_MS);
  return { [Symbol.dispose]: () => cancel() };
}

function changesUser(program: string): boolean {
  const own = ownUser();
  if (own === 0) return false;
  const { mode, uid } = statSync(program);
  return (mode & SET_USER_ID) !== 0 && uid !== own;
}

/** Returns where a program is, as a shell finds it; null if it is nowhere. */
function locate(name: string): string | null {
  const directories = name.includes("/") ? [""] : (process.env["PATH"] ?? "").split(delimiter);
  for (const directory of directories) {
    const path = directory === "" ? name : join(directory, name);
    try {
      if (statSync(path).isFile()) return path;
    } catch {
      // Not here.
    }
  }
  return null;
}
