/**
 * Elections among the processes of one host, in the files of a directory: `file:///var/lib/elections`. No server.
 *
 * One file per term: `nightly/7` is the record of term 7 of the group `nightly`. The next term is `nightly/8`, made
 * with `link()`, which is exclusive: of all who try, one wins.
 *
 * - **Token**: the number of the file. The highest one is never removed, so it survives release, expiry and restarts.
 *   If somebody removes the directory, the leader loses its lease with its next heartbeat; processes that live through
 *   it go on counting from what they have seen, but among processes that start afterwards tokens begin at 1 again.
 * - **Clock**: each observer's own monotonic one. A lease has expired when its file was seen to stand still for a whole
 *   lease; so one who has just started waits that long. On Linux, the lease of a process that has died (its id and
 *   start time tell) is free at once, for observers in the same pid namespace. Deno guards `/proc` and needs
 *   `--allow-all` for that; without, and on other systems, a dead leader's lease expires like any other.
 * - **Not promised**: anything between hosts. A network file system hides changes for seconds, and breaks the promise
 *   that there is one leader. The file system must have hard links and keep times to the millisecond.
 * - **Metadata** never cost a lease: a renewal is done before they are written, and rejects if only they fail, as on a
 *   full disk. `acquire` on a full disk is an error.
 * - **Foreign files** are left alone, whatever their names. A symbolic link in place of a group's directory is refused.
 * - **A heartbeat** costs three calls: a touch of the own file, a look at the group's directory, and one at the own
 *   file. Nothing waits for the disk but `acquire`. After a power failure heartbeats may be missing, but no term and no
 *   token: the lease expires as if its holder had died a little earlier.
 *
 * @module
 */

import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type Clock, systemClock } from "../src/time/clock.ts";
import type { Provider } from "../src/provider.ts";
import { redact } from "../src/redact.ts";
import { registerProvider } from "../src/registry.ts";
import { CATALOG } from "./catalog.ts";
import { checkOptions, readParameters } from "./kit/parameters.ts";
import { nodeFiles } from "./file/directory.ts";
import { FileProvider } from "./file/provider.ts";

/** The settings of the provider: by `url` or by `directory`. */
export interface FileOptions {
  /**
   * The directory as a URL: `file:///dir`, percent-encoded where it must be; or `file:./dir`, from the working
   * directory.
   */
  readonly url?: string | URL | undefined;
  /** The directory as a path. It is created, with mode 0700, by the first `acquire`. */
  readonly directory?: string | undefined;
  /** Measures how long a record stands still. @default the clock of the machine */
  readonly clock?: Clock | undefined;
  /**
   * Returns the ids of processes on this host, beside this one, that act for the holder of a lease, such as one that
   * ends a command when this process dies. Asked for at each claim. A lease is free at once only when all of them are
   * dead too; if one cannot be found in `/proc`, the lease is not free before it is released or expires.
   * @default nobody else
   */
  readonly heldBy?: (() => readonly number[]) | undefined;
  /**
   * False for an `acquire` that does not wait for the disk. Nothing else changes while the host lives, also when
   * processes are killed: the system has all that was written. A power failure, or a crash of the system, may then
   * forget the latest terms, and their tokens are given again.
   * @default true
   */
  readonly durable?: boolean | undefined;
}

/**
 * Opens a provider that keeps leases in the files of a directory.
 *
 * @throws {TypeError} if not exactly one of `url` and `directory` is given, if the URL names no directory of this host
 * or has settings, or if there is an option that does not exist
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { fileProvider } from "@multilock/core/file";
 *
 * await using provider = fileProvider({ url: "file:///var/lib/elections" });
 * assert(provider.capabilities.timeAuthority === "host");
 * ```
 */
export function fileProvider(options: FileOptions): Provider {
  checkOptions("file", options, ["url", "directory", "clock", "heldBy", "durable"]);
  const { url, directory, clock = systemClock, heldBy, durable = true } = options;
  if ((url === undefined) === (directory === undefined) || directory === "") {
    throw new TypeError("Cannot open file provider: give either a url or a directory");
  }
  if (typeof durable !== "boolean") throw new TypeError(`Cannot use file option "durable": it must be true or false`);
  const root = directory === undefined ? directoryOf(String(url)) : resolve(directory);
  return new FileProvider(root, clock, nodeFiles, { heldBy, durable });
}

function directoryOf(url: string): string {
  try {
    if (!/^file:/i.test(url)) throw new Error("it must begin with file:");
    if (/[?#]/.test(url)) throw new Error(`${settingsOf(url)}; in a path, write ? as %3F and # as %23`);
    if (/^file:\/{0,2}$/i.test(url)) throw new Error("it names no directory");
    // First, since not every runtime minds a broken escape in the path of a URL.
    const decoded = decodeURIComponent(url);
    return /^file:\//i.test(url) ? fileURLToPath(url) : resolve(decoded.slice("file:".length));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TypeError(redact(`Cannot open file provider "${url}": ${why}`), { cause });
  }
}

/** Returns why a URL with a query or a fragment is refused. */
function settingsOf(url: string): string {
  try {
    readParameters("file", new URLSearchParams(/\?([^#]*)/.exec(url)?.[1]), {});
  } catch (error) {
    if (error instanceof TypeError) return error.message;
  }
  return "it takes no settings";
}

registerProvider({
  ...CATALOG.file,
  open: (url, { clock, heldBy }) => fileProvider({ url, clock, heldBy }),
});
