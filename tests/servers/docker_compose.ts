/** Compose's own reading of its files: Debian's. It needs no Docker that runs. */

import { aptInstall, findProgram } from "./process.ts";

/** Returns the path of docker-compose. @throws {Error} if there is none, and none may be installed */
export async function dockerCompose(): Promise<string> {
  if (await findProgram("docker-compose") === null) await aptInstall("docker-compose");
  const program = await findProgram("docker-compose");
  if (program === null) throw new Error("Cannot start docker-compose: Debian's package docker-compose has none");
  return program;
}
