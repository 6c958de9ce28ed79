/**
 * What happened, and what should not have.
 *
 * @module
 */

/** A property that did not hold. */
export interface Violation {
  /** Its name in the documentation, such as `"S1"`. */
  readonly property: string;
  /** At which moment, in milliseconds of true time. */
  readonly at: number;
  /** What was seen. */
  readonly what: string;
}

/** The record of one simulation. Lines become text only if somebody reads them. */
export class History {
  /** The first violation; what follows from it is not of interest. */
  violation: Violation | null = null;
  /** The first thing that was suspect. */
  suspicion: Violation | null = null;
  readonly #now: () => number;
  readonly #lines: { readonly at: number; readonly who: string; readonly what: () => string }[] = [];
  readonly #aliases = new Map<string, string>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Takes down that `who` did or saw something. `what` must still be true when it is read. */
  note(who: string, what: () => string): void {
    this.#lines.push({ at: this.#now(), who, what });
  }

  /** Takes down that a property did not hold. */
  violate(property: string, what: string): void {
    this.note("VIOLATED", () => `${property}: ${what}`);
    this.violation ??= { property, at: this.#now(), what };
  }

  /**
   * Takes down what is wrong already, but does its harm only later. The simulation goes on, and if nothing worse comes
   * of it this is the violation.
   */
  suspect(property: string, what: string): void {
    if (this.suspicion === null) this.note("SUSPECT", () => `${property}: ${what}`);
    this.suspicion ??= { property, at: this.#now(), what };
  }

  /** A short name for a term, in the order in which terms were first mentioned: their ids are random. */
  term(termId: string): string {
    let alias = this.#aliases.get(termId);
    if (alias === undefined) this.#aliases.set(termId, alias = `term ${this.#aliases.size + 1}`);
    return alias;
  }

  /** The timeline: a line for each event, with milliseconds of true time. */
  toString(): string {
    return this.#lines.map(({ at, who, what }) => `${at.toFixed(1).padStart(9)}  ${who.padEnd(8)}  ${what()}`).join(
      "\n",
    );
  }
}
