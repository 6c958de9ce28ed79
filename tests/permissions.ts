/**
 * The narrowest Deno permissions of each provider, as the README's table shows them and as the provider's tests run.
 * `HOST:PORT` stands for the backend's address, `DIR` for the directory of the `file:` URL, `FILES` for those that a
 * URL names.
 */

import { CARDS } from "../providers/catalog.ts";

/** Flags by provider, from its card. */
export const PERMISSIONS: Readonly<Record<string, readonly string[]>> = Object.fromEntries(
  CARDS.map(({ name, permissions }) => [name, permissions]),
);

/** The providers that need a server: those whose card has a port. */
export const BACKENDS: readonly string[] = CARDS.filter(({ port }) => port !== undefined).map(({ name }) => name);

/** Those that need none. */
export const EMBEDDED: readonly string[] = CARDS.filter(({ port }) => port === undefined).map(({ name }) => name);

/** Returns every `HOST:PORT` in a URL or connection string. */
export function addressesIn(url: string): string[] {
  const withoutUser = url.replace(/\/\/[^/@]*@/g, "//");
  return [...withoutUser.matchAll(/([A-Za-z0-9][A-Za-z0-9.-]*):(\d{1,5})\b/g)].map(([address]) => address);
}

/** Returns every file that a setting of a URL names. */
function filesIn(url: string): string[] {
  return [...url.matchAll(/[?&][a-z]+=(\/[^&]+)/g)].map(([, path = ""]) => decodeURIComponent(path));
}

/** Returns the flags with which the tests of `provider` run against `url`: its own, and what the harness needs. */
export function testFlags(provider: string, url: string, control?: string, detour?: string): string[] {
  const addresses = [url, control ?? "", detour ?? ""].flatMap(addressesIn).join(",");
  const flags = (PERMISSIONS[provider] ?? [])
    .map((flag) => flag.replace("HOST:PORT", addresses).replace("FILES", filesIn(url).join(",")))
    // Without a file there is none to read.
    .filter((flag) => !flag.endsWith("="));
  const env = flags.findIndex((flag) => flag.startsWith("--allow-env"));
  if (env < 0) return [...flags, "--allow-env=ELECT_TEST_*"];
  return flags.map((flag, i) => i === env && flag.includes("=") ? `${flag},ELECT_TEST_*` : flag);
}
