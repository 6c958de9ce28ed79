/** Prometheus' own checker of rules and metrics: Debian's. */

import { aptInstall, findProgram } from "./process.ts";

/** Returns the path of promtool. @throws {Error} if there is none, and none may be installed */
export async function promtool(): Promise<string> {
  if (await findProgram("promtool") === null) await aptInstall("prometheus");
  const program = await findProgram("promtool");
  if (program === null) throw new Error("Cannot start promtool: Debian's package prometheus has none");
  return program;
}
