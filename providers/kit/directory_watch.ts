/**
 * A watch of one directory, for whom a change that is heard of late, or not at all, costs no more than time.
 *
 * @module
 */

import { type FSWatcher, watch } from "node:fs";
import { stat } from "node:fs/promises";

/** Tells of what changes in a directory. */
export class DirectoryWatch {
  readonly #path: string;
  readonly #onChange: (name: string | null) => void;
  #watcher: FSWatcher | null = null;
  /** Which directory is being watched: another one may get its name. */
  #inode = -1;
  /** The number of times that it was let go: what began to keep it before that does not. */
  #resting = 0;

  /** Watches nothing yet. `onChange` is called with the name of what has changed, or null where that is not known. */
  constructor(path: string, onChange: (name: string | null) => void) {
    this.#path = path;
    this.#onChange = onChange;
  }

  /** True while the directory that was there when it was last looked for is watched. */
  get isLive(): boolean {
    return this.#watcher !== null;
  }

  /**
   * Watches the directory, unless that is done already: to be called again and again. Where it cannot be watched, or is
   * not there yet, nothing is told.
   */
  async keep(): Promise<void> {
    const resting = this.#resting;
    const inode = await stat(this.#path).then((stats) => stats.ino, () => -1);
    if (resting !== this.#resting || (this.#watcher !== null && inode === this.#inode)) return;
    this.rest();
    if (inode === -1) return;
    try {
      const watcher = watch(this.#path, (_, name) => this.#onChange(name));
      watcher.on("error", () => {
        watcher.close();
        if (this.#watcher === watcher) this.#watcher = null;
      });
      this.#watcher = watcher;
      this.#inode = inode;
    } catch {
      // No more watches are to be had, or none on this file system.
    }
  }

  /** Lets go of everything that would keep the process alive, until it is kept again. */
  rest(): void {
    this.#resting++;
    this.#watcher?.close();
    this.#watcher = null;
  }
}
