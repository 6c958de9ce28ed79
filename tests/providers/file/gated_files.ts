/** A real file system that waits before each step, so that a test decides which of many goes next. */

import type { FileHandle } from "node:fs/promises";
import { setImmediate } from "node:timers";
import { type Files, nodeFiles } from "../../../providers/file/directory.ts";

type Step = (...args: unknown[]) => Promise<unknown>;

/** The calls of one process; any number of them may wait at once. */
export class GatedFiles {
  /** Give these to a provider. */
  readonly calls: Files;
  readonly #waiting: { readonly name: string; readonly go: () => void }[] = [];
  /** How many steps are being carried out. */
  #running = 0;
  #open = true;
  #dead = false;

  /** Makes files whose steps do not wait until {@linkcode GatedFiles.hold}. */
  constructor() {
    this.calls = Object.fromEntries(
      Object.entries(nodeFiles).map(([name, call]) => [name, this.#gated(name, call as Step)]),
    ) as Files;
  }

  /** How many steps wait. */
  get waits(): number {
    return this.#waiting.length;
  }

  /** The name of the step that has waited longest, such as `link`. */
  get next(): string | undefined {
    return this.#waiting[0]?.name;
  }

  /** Lets one of the steps that wait through, and resolves when it, and what follows from it, has come to rest. */
  async step(random: (below: number) => number): Promise<void> {
    const [step] = this.#waiting.splice(random(this.#waiting.length), 1);
    step?.go();
    await this.settle();
  }

  /** Resolves when nothing goes on but steps that wait. */
  async settle(): Promise<void> {
    // What follows from the end of a step, does so before the next turn of the event loop.
    do await new Promise((resolve) => setImmediate(resolve)); while (this.#running > 0);
  }

  /** From now on each step waits. */
  hold(): this {
    this.#open = false;
    return this;
  }

  /** From now on no step waits. */
  open(): void {
    this.#open = true;
    for (const { go } of this.#waiting.splice(0)) go();
  }

  /** From now on no step is carried out. */
  die(): void {
    this.#dead = true;
  }

  #gated(name: string, call: Step): Step {
    return async (...args) => {
      if (!this.#open) await new Promise<void>((resolve) => this.#waiting.push({ name, go: resolve }));
      // A dead process waits for ever.
      if (this.#dead) await new Promise(() => {});
      const answer = await this.#counted(() => call(...args));
      return isFile(answer) ? this.#watched(answer) : answer;
    };
  }

  /** What is done with an open file is no step of its own: nobody else sees it, or it does not matter when. */
  #watched(file: FileHandle): FileHandle {
    for (const name of ["writeFile", "utimes", "stat", "sync", "close"] as const) {
      const call = (file[name] as Step).bind(file);
      Object.assign(file, { [name]: (...args: unknown[]) => this.#counted(() => call(...args)) });
    }
    return file;
  }

  async #counted<T>(work: () => Promise<T>): Promise<T> {
    this.#running++;
    try {
      return await work();
    } finally {
      this.#running--;
    }
  }
}

/** Work whose steps a test takes. */
export class Play<T> {
  readonly #files: GatedFiles;
  readonly #work: Promise<T>;
  #done = false;

  private constructor(files: GatedFiles, work: Promise<T>) {
    this.#files = files;
    this.#work = work;
    work.catch(() => {}).finally(() => this.#done = true);
  }

  /** Lets `work` begin; it stands before its first step. */
  static async begin<T>(files: GatedFiles, work: () => Promise<T>): Promise<Play<T>> {
    const play = new Play(files.hold(), work());
    await files.settle();
    return play;
  }

  /** Whether it has come to its end. */
  get done(): boolean {
    return this.#done;
  }

  /** Lets `count` steps through, or as many as there are. */
  async steps(count: number): Promise<void> {
    for (let i = 0; i < count && !this.#done; i++) await this.#files.step(last);
  }

  /** Lets steps through until `name` is the next. */
  async until(name: string): Promise<void> {
    for (let i = 0; this.#files.next !== name; i++) {
      if (this.#done || i > 100) throw new Error(`the work ended before it came to ${name}`);
      await this.steps(1);
    }
  }

  /** Lets all steps through, those of earlier calls too, and returns the outcome. */
  async finish(): Promise<T> {
    this.#files.open();
    await this.#files.settle();
    return await this.#work;
  }
}

/** The step that came last: that of the call that began last. */
function last(count: number): number {
  return Math.max(0, count - 1);
}

function isFile(answer: unknown): answer is FileHandle {
  return typeof answer === "object" && answer !== null && "writeFile" in answer;
}
