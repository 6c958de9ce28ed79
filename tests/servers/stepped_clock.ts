/** Processes with a wall clock of their own, and servers whose wall clock can be stepped, by libfaketime. */

import { access, readdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { aptInstall, removeDirectory, temporaryDirectory } from "./process.ts";
import type { TestServer } from "./server.ts";

/** A server whose wall clock can be stepped. Its monotonic clock, and those of its clients, go on as they were. */
export interface SteppedServer extends TestServer {
  /** Sets its clock to `seconds` ahead of the machine's, or behind it. */
  setClock(seconds: number): Promise<void>;
}

/** Starts a server, under variables that make its clock obey. `user` is whom it runs as, if that is another. */
export async function withSteppedClock(
  start: (env: Readonly<Record<string, string>>) => Promise<TestServer>,
  user?: { readonly uid: number; readonly gid: number },
): Promise<SteppedServer> {
  const library = await installed();
  const directory = await temporaryDirectory("faketime", user);
  const offset = join(directory, "offset");
  // Servers read it at any moment, so it must never be empty.
  const setClock = async (seconds: number) => {
    await writeFile(`${offset}.new`, `${seconds < 0 ? "" : "+"}${seconds}`);
    await rename(`${offset}.new`, offset);
  };
  await setClock(0);
  const server = await start({
    LD_PRELOAD: library,
    FAKETIME_TIMESTAMP_FILE: offset,
    FAKETIME_NO_CACHE: "1",
    FAKETIME_DONT_FAKE_MONOTONIC: "1",
  });
  return {
    ...server,
    setClock,
    async stop() {
      await server.stop();
      await removeDirectory(directory);
    },
  };
}

/** Returns variables under which the wall clock of a process is `seconds` ahead of the machine's, or behind it. */
export async function clockAhead(seconds: number): Promise<Record<string, string>> {
  const ahead = `${seconds < 0 ? "" : "+"}${seconds}s`;
  return { LD_PRELOAD: await installed(), FAKETIME: ahead, FAKETIME_DONT_FAKE_MONOTONIC: "1" };
}

async function installed(): Promise<string> {
  if (await libfaketime() === null) await aptInstall("faketime");
  const library = await libfaketime();
  if (library === null) throw new Error("Cannot start a process with a clock of its own: there is no libfaketime");
  return library;
}

async function libfaketime(): Promise<string | null> {
  const architectures = await readdir("/usr/lib").catch(() => []);
  const candidates = architectures.map((each) => `/usr/lib/${each}/faketime/libfaketime.so.1`);
  const found = await Promise.all(candidates.map((path) => access(path).then(() => path, () => null)));
  return found.find((path) => path !== null) ?? null;
}
