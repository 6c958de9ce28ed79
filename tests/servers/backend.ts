/**
 * The server that a provider's tests talk to: started by `tests/run.ts` or by `tests/servers/serve.ts`, or the user's
 * own.
 */

import process from "node:process";
import type { Provider } from "../../src/provider.ts";
import type { ConformanceFaults, ConformanceTarget } from "../../testing/conformance.ts";
import { addressesIn } from "../permissions.ts";
import { controlled, holdOn } from "./control.ts";

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

/**
 * Returns the way to the server of the provider `name` on which the conformance suite can hold calls back, for clients
 * that `open` opens by a URL; nothing where there is none.
 */
export function detourTo(
  name: string,
  open: (url: string) => Provider | Promise<Provider>,
): Pick<ConformanceTarget, "detour"> {
  const [url, control, detour] = [urlVariable, controlVariable, detourVariable].map((variable) => {
    return process.env[variable(name)];
  });
  const [address] = addressesIn(url ?? "");
  if (!url || !control || !detour || address === undefined) return {};
  return { detour: { ...holdOn(control), open: () => open(url.replace(address, detour)) } };
}

/** The variable that holds the URL of the server of the provider `name`. */
export function urlVariable(name: string): string {
  return `ELECT_TEST_${name.toUpperCase().replaceAll("-", "_")}_URL`;
}

/** The variable that holds the URL of the control endpoint of that server. */
export function controlVariable(name: string): string {
  return `ELECT_TEST_${name.toUpperCase().replaceAll("-", "_")}_CONTROL`;
}

/** The variable that holds `HOST:PORT` of the detour to that server. */
export function detourVariable(name: string): string {
  return `ELECT_TEST_${name.toUpperCase().replaceAll("-", "_")}_DETOUR`;
}
