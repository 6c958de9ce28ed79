/**
 * The packages that serve over HTTP: a router, its server, and a client of Prometheus. Nothing else needs them, so they
 * are loaded when elections are served, in Deno also where no import map knows their names.
 *
 * @module
 */

import { loadDriver } from "../../providers/kit/driver.ts";

/** See the module. */
export interface Packages {
  readonly hono: typeof import("hono");
  readonly accepts: typeof import("hono/accepts");
  readonly server: typeof import("@hono/node-server");
  readonly prometheus: typeof import("prom-client");
}

/**
 * Loads all of them.
 *
 * @throws {Error} that names the cure, if one is missing
 */
export async function loadPackages(): Promise<Packages> {
  const [hono, accepts, server, prometheus] = await Promise.all([
    loadDriver<Packages["hono"]>("hono", () => import("hono"), () => import("npm:hono@^4")),
    loadDriver<Packages["accepts"]>("hono", () => import("hono/accepts"), () => import("npm:hono@^4/accepts")),
    loadDriver<Packages["server"]>(
      "@hono/node-server",
      () => import("@hono/node-server"),
      () => import("npm:@hono/node-server@^2"),
    ),
    loadDriver<Packages["prometheus"]>("prom-client", () => import("prom-client"), () => import("npm:prom-client@^15")),
  ]);
  return { hono, accepts, server, prometheus };
}
