/**
 * A question on the terminal.
 *
 * @module
 */

import process from "node:process";
import { readLines } from "./lines.ts";
import { scoped } from "./scope.ts";
import { onSignal } from "./signals.ts";

/**
 * Asks on the terminal. The terminal itself edits the line, turns Ctrl-C into SIGINT, and Ctrl-D into the end of the
 * input: what runtimes make of a terminal that they edit on differs, and one of them hears neither.
 *
 * @returns what was answered; null if the question was broken off
 */
export async function ask(question: string): Promise<string | null> {
  const answer = await scoped((use) => {
    const answered = use(new Answer());
    use(onSignal((_signal, ending) => ending && answered.give(null)));
    process.stderr.write(question);
    readLines(process.stdin, (line) => answered.give(line), () => answered.give(null));
    return answered.given;
  });
  if (answer === null) process.stderr.write("\n");
  return answer;
}

/** An answer that is waited for. */
class Answer implements Disposable {
  readonly given: Promise<string | null>;
  #resolve: (answer: string | null) => void = () => {};

  constructor() {
    this.given = new Promise((resolve) => this.#resolve = resolve);
  }

  give(answer: string | null): void {
    this.#resolve(answer);
  }

  /** Lets go of the input, which would keep the process alive. */
  [Symbol.dispose](): void {
    process.stdin.pause();
    process.stdin.unref?.();
  }
}

/** Returns whether `answer` says yes. */
export function isYes(answer: string | null): boolean {
  return answer !== null && /^\s*y(es)?\s*$/i.test(answer);
}
