/**
 * The messages of `elect run`, on standard error: its command has standard output to itself.
 *
 * @module
 */

import type { LeaderInfo, Term } from "../../mod.ts";
import { redact } from "../../src/redact.ts";
import type { Invocation } from "../args.ts";
import { describeMembers, type Member } from "../guard/processes.ts";
import { LOG_LEVELS, outputTo, printable } from "../output.ts";
import { standardError } from "../streams.ts";

/** Tells people in sentences, and programs in events. To people, the command speaks for itself. */
export class Teller {
  readonly #group: string;
  readonly #target: string;
  readonly #json: boolean;
  readonly #quiet: boolean;
  readonly #output;
  #hasWaited = false;

  constructor({ group, json, logLevel }: Invocation, target: string) {
    this.#group = group;
    this.#target = redact(target);
    this.#json = json;
    this.#quiet = LOG_LEVELS.indexOf(logLevel) > LOG_LEVELS.indexOf("warn");
    this.#output = outputTo(standardError, json);
  }

  /** The lease is where only this user of this machine looks. */
  local(): void {
    this.#warn(
      `its lease is kept in ${this.#target}, which counts for this machine and this user only; ` +
        `--provider or ELECT_PROVIDER names a place for more`,
      { event: "local" },
    );
  }

  /** Something that the command's user should know before. */
  caveat(text: string): void {
    this.#warn(text, { event: "caveat" });
  }

  /** Said once: with --repeat, waiting is the ordinary thing. */
  waiting(leader: LeaderInfo | null): void {
    if (this.#hasWaited) return;
    this.#hasWaited = true;
    const who = this.#whoLeads(leader);
    this.#warn(`waits to lead "${this.#group}": ${who}`, { event: "waiting", leaderId: leader?.leaderId ?? null });
  }

  gaveUp(leader: LeaderInfo | null): void {
    const who = this.#whoLeads(leader);
    this.#warn(`does not wait to lead "${this.#group}" any longer: ${who}`, {
      event: "gaveUp",
      leaderId: leader?.leaderId ?? null,
    });
  }

  elected({ token, termId }: Term): void {
    if (this.#json) this.#print("", { event: "elected", token, termId });
  }

  lost(code: number): void {
    this.#print(`elect: lost leadership of "${this.#group}": the command was ended`, { event: "lost", code });
  }

  /** The command cannot be ended. */
  forbidden(): void {
    this.#print(
      `elect: Cannot end the command: it has changed its user, and this one may not signal it; it goes on running`,
      { event: "forbidden" },
    );
  }

  /** Some of the command runs as another user. */
  strangers(members: readonly Member[]): void {
    this.#warn(
      `${describeMembers(members)} cannot be ended by this user when leadership is lost; run elect itself as that user`,
      { event: "strangers", members },
    );
  }

  /** The command has ended, and others of its process group have not, though they were killed. */
  stuck(members: readonly Member[]): void {
    this.#warn(`keeps leading "${this.#group}": ${describeMembers(members)} has not ended yet`, {
      event: "stuck",
      members,
    });
  }

  /** Processes that an earlier term left running have not ended yet. */
  earlier(members: readonly Member[]): void {
    this.#warn(`holds its command back: ${describeMembers(members)} still runs, from an earlier term`, {
      event: "earlier",
      members,
    });
  }

  /** The next `elect run` of this host will not know of this command. */
  unregistered(error: unknown): null {
    const why = error instanceof Error ? error.message : String(error);
    this.#warn(`Cannot enter the command into the register of this host: ${redact(why)}`, { event: "unregistered" });
    return null;
  }

  /** Where nobody is known to lead, the backend may well be elsewhere than was meant. */
  #whoLeads(leader: LeaderInfo | null): string {
    return leader === null ? `nobody is known to lead it at ${this.#target}` : `${printable(leader.leaderId)} leads`;
  }

  #warn(text: string, data: Readonly<Record<string, unknown>>): void {
    if (this.#json || !this.#quiet) this.#print(`elect: ${text}`, data);
  }

  #print(text: string, data: Readonly<Record<string, unknown>>): void {
    this.#output.print(text, { ...data, electionGroup: this.#group, ...(data["event"] === "elected" ? {} : { text }) });
  }
}
