/**
 * Elections among the processes of one host, in a SQLite database of their own: `sqlite:///var/lib/app/elections.db`.
 * No server and no driver: `node:sqlite` of Deno, of Node from 22.5 on, and of Bun.
 *
 * One row per group, which is never deleted. Its version changes with every write.
 *
 * - **Token**: a 64-bit integer in the row, on the disk before anybody leads under it. If somebody removes the file,
 *   the leader loses its lease with its next heartbeat; processes that live through it go on counting from what they
 *   have seen, but among processes that start afterwards tokens begin at 1 again.
 * - **Clock**: each observer's own monotonic one. A lease has expired when its row was seen to stand still for a whole
 *   lease; so one who has just started waits that long. Stepping the wall clock of the host moves nothing.
 * - **Dead holders**: on Linux the lease of a process that has ended is free at once, unless another has renewed it.
 * - **Locks** of other processes are waited for without blocking: up to `busyTimeout`, in tries that fail at once.
 * - **Not promised**: anything between hosts. A network file system breaks the locks and the log of SQLite, and with
 *   them the promise that there is one leader. It is refused where Linux names it; Deno asks with `--allow-sys=statfs`.
 * - **Foreign files** are refused, and left as they are: the database must be one that this provider has made.
 * - **A heartbeat** costs a look at the file's name and one statement, which does not wait for the disk, but holds up
 *   the process while it runs: some tens of microseconds. A grant waits for the disk, and holds up the process for that
 *   long. On a full disk both fail.
 *
 * @module
 */

import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Provider } from "../src/provider.ts";
import { redact } from "../src/redact.ts";
import { registerProvider } from "../src/registry.ts";
import { type Clock, systemClock } from "../src/time/clock.ts";
import { type Duration, parseDuration } from "../src/time/duration.ts";
import { CATALOG } from "./catalog.ts";
import { checkOptions, readParameters } from "./kit/parameters.ts";
import { SqliteProvider } from "./sqlite/provider.ts";

/** The settings of the provider: by `url` or by `path`. */
export interface SqliteOptions {
  /**
   * The file as a URL: `sqlite:///dir/file.db`, percent-encoded where it must be; or `sqlite:./file.db`, from the
   * working directory.
   */
  readonly url?: string | URL | undefined;
  /** The file as a path. The first `acquire` makes it, with mode 0600; its directory must be there. */
  readonly path?: string | undefined;
  /** The time for which a call waits for the locks of other processes. In a URL: `?busyTimeout=2s`. @default "5s" */
  readonly busyTimeout?: Duration | undefined;
  /** Measures how long a row stands still. @default the clock of the machine */
  readonly clock?: Clock | undefined;
  /**
   * Returns the ids of processes on this host, beside this one, that act for the holder of a lease, such as one that
   * ends a command when this process dies. Asked for at each claim. A lease is free at once only when all of them are
   * dead too; if one cannot be found in `/proc`, the lease is not free before it is released or expires.
   * @default nobody else
   */
  readonly heldBy?: (() => readonly number[]) | undefined;
}

/**
 * Opens a provider that keeps leases in a SQLite database.
 *
 * @throws {TypeError | RangeError} if not exactly one of `url` and `path` is given, if the URL names no file of this
 *   host, or if a setting is malformed or does not exist
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { sqliteProvider } from "@multilock/core/sqlite";
 *
 * await using provider = sqliteProvider({ url: "sqlite:///var/lib/app/elections.db" });
 * assert(provider.capabilities.timeAuthority === "host");
 * ```
 */
export function sqliteProvider(options: SqliteOptions): Provider {
  const given = checkOptions("sqlite", options, ["url", "path", "busyTimeout", "clock", "heldBy"]);
  if ((given.url === undefined) === (given.path === undefined) || given.path === "") {
    throw new TypeError("Cannot open sqlite provider: give either a url or a path");
  }
  const inUrl = given.url === undefined ? {} : readUrl(String(given.url));
  const { path = "", busyTimeout = "5s", clock = systemClock } = { ...inUrl, ...given };
  return new SqliteProvider(resolve(path), clock, parseDuration(busyTimeout, "busyTimeout"), { heldBy: given.heldBy });
}

function readUrl(url: string): { readonly path: string; readonly busyTimeout?: number } {
  const [, path, query = ""] = /^sqlite:((?:\/\/)?\/[^/?#][^?#]*|\.{1,2}\/[^?#]+)(?:\?([^#]*))?$/i.exec(url) ?? [];
  const settings = readParameters("sqlite", new URLSearchParams(query), { busyTimeout: "duration" });
  try {
    if (path === undefined) throw new Error("it must be sqlite:///PATH or sqlite:./PATH; in a path, write ? as %3F");
    // First, since not every runtime minds a broken escape in the path of a URL.
    const decoded = decodeURIComponent(path);
    return { path: path.startsWith("/") ? fileURLToPath(`file:${path}`) : decoded, ...settings };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TypeError(redact(`Cannot open sqlite provider "${url}": ${why}`), { cause });
  }
}

registerProvider({
  ...CATALOG.sqlite,
  open: (url, { clock, heldBy }) => sqliteProvider({ url, clock, heldBy }),
});
