/** The server that a provider's tests talk to: started by `tests/run.ts` or by `tests/servers/serve.ts`, or the user's own. */

import process from "node:process";
import type { ConformanceFaults } from "../../testing/conformance.ts";
import { controlled } from "./control.ts";

/** A real server under test. */
export interface Backend {
  /** The URL that the provider opens. */
  readonly url: string;
  /** What can be done to the server. Empty where the tests have no hold on it. */
  readonly faults: ConformanceFaults;
}

/**
 * Returns the server of the provider `name`, as `ELECT_TEST_<NAME>_URL` and `ELECT_TEST_<NAME>_CONTROL` tell it; null
 * when there is none. A test file then registers no tests, and the driver names the backend as skipped.
 */
export function backend(name: string): Backend | null {
  const url = process.env[urlVariable(name)];
  if (!url) return null;
  const control = process.env[controlVariable(name)];
  return { url, faults: control ? controlled(control) : {} };
}

/** The variable that holds the URL of the server of the provider `name`. */
export function urlVariable(name: string): string {
  return `ELECT_TEST_${name.toUpperCase().replaceAll("-", "_")}_URL`;
}

/** The variable that holds the URL of the control endpoint of that server. */
export function controlVariable(name: string): string {
  return `ELECT_TEST_${name.toUpperCase().replaceAll("-", "_")}_CONTROL`;
}
