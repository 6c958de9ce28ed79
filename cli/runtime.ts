/**
 * Starting modules of this package as processes of their own, on whichever runtime this one is.
 *
 * @module
 */

import { type ChildProcess, spawn, type SpawnOptions } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

/**
 * Starts the module `name` that lies beside the module at `from`. Nothing secret goes into the command line, which
 * every user of the machine can read: URLs travel through the environment or a pipe.
 *
 * @param denoFlags the permissions that it gets on Deno
 */
export function startModule(
  name: string,
  from: string,
  denoFlags: readonly string[],
  options: SpawnOptions,
): ChildProcess {
  // The same ending as this package's modules have where they are installed: .ts, or .js once translated for npm.
  const ending = /\.[a-z]+$/.exec(new URL(from).pathname)?.[0] ?? ".ts";
  const module = new URL(`./${name}${ending}`, from);
  const path = module.protocol === "file:" ? fileURLToPath(module) : module.href;
  const flags = "Deno" in globalThis ? ["run", "--quiet", "--no-prompt", "--no-lock", ...denoFlags] : [];
  return spawn(process.execPath, [...flags, path], options);
}
