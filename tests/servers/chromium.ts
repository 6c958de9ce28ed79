/** A headless Chromium for the tests: Debian's. */

import { type Browser, chromium } from "playwright-core";
import process from "node:process";
import { aptInstall, findProgram } from "./process.ts";

const PROGRAMS = ["chromium", "chromium-browser", "google-chrome"];

/** Starts a browser. @throws {Error} if there is none, and none may be installed */
export async function startChromium(): Promise<Browser> {
  if (await findProgram(...PROGRAMS) === null) await aptInstall("chromium");
  const executablePath = await findProgram(...PROGRAMS);
  if (executablePath === null) throw new Error("Cannot start a browser: there is no chromium");
  // Its sandbox refuses root, and nothing is opened in it but our own page.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  return await chromium.launch({ executablePath, args: [...args, "--disable-dev-shm-usage"] });
}
