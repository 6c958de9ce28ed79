/** Where the server of each backend comes from: the user, this machine, or Docker. */

import { addressesIn } from "../permissions.ts";
import { controlVariable, detourVariable, urlVariable } from "../servers/backend.ts";
import { composeServer } from "../servers/compose.ts";
import { type ControlEndpoint, serveControl } from "../servers/control.ts";
import { serverKinds } from "../servers/kinds.ts";
import type { TestServer } from "../servers/server.ts";

/** A server that is there, for as long as its tests run. */
export interface ReadyBackend {
  /** What the provider opens. */
  readonly url: string;
  /** The control endpoint, where the tests have a hold on the server. */
  readonly control: string | undefined;
  /** `HOST:PORT` of a detour to the server. */
  readonly detour: string | undefined;
  /** The variables by which the tests find it. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends it. */
  stop(): Promise<void>;
}

const started = new Set<() => Promise<void>>();

/**
 * Makes the server of a backend available.
 *
 * @throws {Error} if there is no way to; the message says why for each way
 */
export async function prepareBackend(name: string): Promise<ReadyBackend> {
  const url = Deno.env.get(urlVariable(name));
  if (url) {
    const [control, detour] = [controlVariable(name), detourVariable(name)].map((each) => Deno.env.get(each));
    return describe(name, url, control, detour, () => Promise.resolve());
  }
  const reasons: string[] = [];
  for (const start of [startLocal, composeServer]) {
    try {
      const server = await start(name);
      const control = await serveControl(server, addressesIn(server.url)[0] ?? "");
      return describe(name, server.url, control.url, control.detour, () => stop(server, control));
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new Error([`${urlVariable(name)} is not set`, ...reasons].join("; "));
}

/** Ends every server that still runs. */
export async function stopBackends(): Promise<void> {
  await Promise.allSettled([...started].map((each) => each()));
}

async function startLocal(name: string): Promise<TestServer> {
  const kind = (await serverKinds()).find((each) => each.name === name);
  if (kind === undefined) throw new Error("it has no local server");
  await kind.install();
  return await kind.start();
}

async function stop(server: TestServer, control: ControlEndpoint): Promise<void> {
  await control.close();
  await server.stop();
}

function describe(
  name: string,
  url: string,
  control: string | undefined,
  detour: string | undefined,
  end: () => Promise<void>,
): ReadyBackend {
  started.add(end);
  return {
    url,
    control,
    detour,
    env: {
      [urlVariable(name)]: url,
      ...(control && { [controlVariable(name)]: control }),
      ...(detour && { [detourVariable(name)]: detour }),
    },
    async stop() {
      started.delete(end);
      await end();
    },
  };
}
