/**
 * The register of the commands that run on this host: what an `elect run` that is killed, and its guard with it, leaves
 * behind is found by the next one, and ended before its own command begins.
 *
 * Why no command of an earlier term runs beside a later one on this host: a command is entered before it begins. A
 * holder of a later term looks after its term was granted, and so sees every entry of an earlier term, but for one
 * whose `elect` stood still before it wrote it: that one's right to run is over, and its own guard never lets it begin.
 * Tokens grow from term to term, so that one who looks late ends nobody who came after him.
 *
 * Why it ends nobody else: an entry names the process group and its leader's start time. A number is not given away
 * while a group has it. So the group is that of the entry if its leader has that start time, or if a member carries the
 * term's id in its environment; if neither can be shown, nothing is ended, and the lease alone bounds what runs.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  askToEnd,
  endGroup,
  hasVariable,
  hostIdentity,
  isGroupGone,
  type Member,
  membersOf,
  startTimeOf,
} from "./processes.ts";

/** One command that runs, or waits for its term to be let begin. */
export interface Entry {
  readonly electionGroup: string;
  readonly termId: string;
  /** The fencing token, in decimal. */
  readonly token: string;
  /** See {@linkcode hostIdentity}. */
  readonly host: string;
  readonly processGroup: number;
  /** When the leader of the process group started. */
  readonly startTime: string;
}

/** The register in one directory. */
export class Register {
  readonly #directory: string;

  /** Names the directory, which is made by the first entry. */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /**
   * Enters a command, before it begins. Returns what strikes it off again; null where processes cannot be told apart.
   */
  async enter(
    command: { electionGroup: string; termId: string; token: bigint; processGroup: number },
  ): Promise<(() => Promise<void>) | null> {
    const host = hostIdentity();
    const startTime = startTimeOf(command.processGroup);
    if (host === null || startTime === null) return null;
    const entry: Entry = { ...command, token: String(command.token), host, startTime };
    const path = join(this.#directory, nameOf(entry));
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    // As a whole: who looks meanwhile reads all of it, or finds it under its own name later.
    await writeFile(`${path}~`, JSON.stringify(entry), { mode: 0o600 });
    await rename(`${path}~`, path);
    return () => rm(path, { force: true });
  }

  /**
   * Ends what runs here of terms of `electionGroup` before `token`: it is told to, and killed if that takes longer than
   * `graceMs`. Resolves when nothing of it is alive.
   */
  async endEarlier(
    { electionGroup, token }: { electionGroup: string; token: bigint },
    graceMs: number,
    stuck: (members: readonly Member[]) => void,
  ): Promise<void> {
    const host = hostIdentity();
    if (host === null) return;
    const names = await readdir(this.#directory).catch(() => []);
    const mine = names.filter((name) => name.startsWith(`${hashOf(electionGroup)}.`) && !name.endsWith("~"));
    await Promise.all(mine.map(async (name) => {
      const path = join(this.#directory, name);
      const entry = parseEntry(await readFile(path, "utf8").catch(() => ""));
      if (entry === null || entry.electionGroup !== electionGroup || BigInt(entry.token) >= token) return;
      if (entry.host === host && isItself(entry)) {
        // Its own elect may live, and not know yet that it was evicted.
        await askToEnd(entry.processGroup, graceMs);
        await endGroup(entry.processGroup, { stuck });
      }
      if (entry.host === host) await rm(path, { force: true });
    }));
  }
}

function isItself({ processGroup, startTime, termId }: Entry): boolean {
  if (isGroupGone(processGroup)) return false;
  const started = startTimeOf(processGroup);
  if (started !== null) return started === startTime;
  return (membersOf(processGroup) ?? []).some(({ pid }) => hasVariable(pid, `ELECT_TERM_ID=${termId}`));
}

function nameOf({ electionGroup, termId }: Entry): string {
  return `${hashOf(electionGroup)}.${hashOf(termId)}`;
}

function hashOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}

function parseEntry(text: string): Entry | null {
  try {
    const value: Partial<Record<keyof Entry, unknown>> = JSON.parse(text);
    const { electionGroup, termId, token, host, processGroup, startTime } = value;
    // 0 and 1 would mean the own group and every process.
    const isGroup = typeof processGroup === "number" && Number.isInteger(processGroup) && processGroup > 1;
    if (!isGroup || typeof token !== "string" || !/^\d+$/.test(token)) return null;
    const texts = [electionGroup, termId, host, startTime];
    return texts.every((each) => typeof each === "string") ? value as Entry : null;
  } catch {
    return null;
  }
}
