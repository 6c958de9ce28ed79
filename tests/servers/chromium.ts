/** A headless Chromium for the tests: Debian's. */

import { type Browser, chromium } from "playwright-core";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { aptInstall, findProgram } from "./process.ts";

/** How long a browser may take to end, in milliseconds. */
const CLOSING_MS = 5_000;
const PROGRAMS = ["chromium", "chromium-browser", "google-chrome"];

/** Starts a browser. @throws {Error} if there is none, and none may be installed */
export async function startChromium(): Promise<Browser> {
  if (await findProgram(...PROGRAMS) === null) await aptInstall("chromium");
  const executablePath = await findProgram(...PROGRAMS);
  if (executablePath === null) throw new Error("Cannot start a browser: there is no chromium");
  // Its sandbox refuses root, and nothing is opened in it but our own page.
  const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  const browser = await chromium.launch({ executablePath, args: [...args, "--disable-dev-shm-usage"] });
  const close = browser.close.bind(browser);
  // One that does not end goes with the tests, which must not wait for it.
  browser.close = () => Promise.race([close(), delay(CLOSING_MS, undefined, { ref: false })]);
  return browser;
}
