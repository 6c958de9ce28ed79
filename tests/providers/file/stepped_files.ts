/** A file system that waits: a test decides which participant takes its next step. */

import { type Files, nodeFiles } from "../../../providers/file/directory.ts";

/** One participant whose steps on disk are let through one by one. */
export class Actor {
  /** Give these to a provider. */
  readonly files: Files;
  /** The names of the steps that it took, such as `link`. */
  readonly taken: string[] = [];
  #pending: { name: string; go: () => void } | null = null;
  #arrived: () => void = () => {};
  #free = true;

  /** Makes an actor; it is free until {@linkcode Actor.hold}. */
  constructor() {
    this.files = Object.fromEntries(
      Object.entries(nodeFiles).map(([name, call]) => [name, this.#stepped(name, call as Step)]),
    ) as Files;
  }

  /** From now on, every step waits. */
  hold(): this {
    this.#free = false;
    return this;
  }

  /** From now on, no step waits. */
  release(): void {
    this.#free = true;
    this.#pending?.go();
  }

  /** Lets `work` begin, and returns a handle on it that stands before its first step. */
  async begin<T>(work: () => Promise<T>): Promise<Play<T>> {
    this.hold();
    const play = new Play(this, work());
    await play.arrival();
    return play;
  }

  /** The name of the step that waits; null if none does. */
  get next(): string | null {
    return this.#pending?.name ?? null;
  }

  /** Lets the waiting step through, and resolves when the next one waits. */
  async step(): Promise<void> {
    const arrived = this.arrival();
    this.#pending?.go();
    await arrived;
  }

  /** Resolves when a step waits; at once if one does that has not been let through. */
  arrival(): Promise<void> {
    return new Promise((resolve) => this.#arrived = resolve);
  }

  #stepped(name: string, call: Step): Step {
    return async (...args) => {
      if (!this.#free) {
        await new Promise<void>((resolve) => {
          this.#pending = { name, go: resolve };
          this.#arrived();
        });
        this.#pending = null;
      }
      this.taken.push(name);
      return await call(...args);
    };
  }
}

type Step = (...args: unknown[]) => Promise<unknown>;

/** Work of an actor that is under way. */
export class Play<T> {
  readonly #actor: Actor;
  readonly #work: Promise<T>;
  #done = false;

  /** Follows `work` of `actor`. */
  constructor(actor: Actor, work: Promise<T>) {
    this.#actor = actor;
    this.#work = work;
    work.catch(() => {}).finally(() => this.#done = true);
  }

  /** Whether it has come to its end. */
  get done(): boolean {
    return this.#done;
  }

  /** Resolves when a step waits, or the work is done. */
  async arrival(): Promise<void> {
    if (this.#actor.next === null && !this.#done) await Promise.race([this.#actor.arrival(), this.#end()]);
  }

  /** Lets one step through. */
  async step(): Promise<void> {
    if (!this.#done) await Promise.race([this.#actor.step(), this.#end()]);
  }

  /** Lets steps through until `name` is the next. */
  async until(name: string): Promise<void> {
    for (let i = 0; this.#actor.next !== name; i++) {
      if (this.#done || i > 100) throw new Error(`the work ended before it came to ${name}`);
      await this.step();
    }
  }

  /** Lets all steps through and returns the outcome. */
  finish(): Promise<T> {
    this.#actor.release();
    return this.#work;
  }

  async #end(): Promise<void> {
    await this.#work.catch(() => {});
    this.#done = true;
  }
}
