/** systemd's own checker of units: Debian's. It needs no systemd that runs. */

import { aptInstall, findProgram } from "./process.ts";

/** Returns the path of systemd-analyze. @throws {Error} if there is none, and none may be installed */
export async function systemdAnalyze(): Promise<string> {
  if (await findProgram("systemd-analyze") === null) await aptInstall("systemd");
  const program = await findProgram("systemd-analyze");
  if (program === null) throw new Error("Cannot start systemd-analyze: Debian's package systemd has none");
  return program;
}
