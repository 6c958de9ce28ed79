/** Where the server of each backend comes from: the user, this machine, or Docker. */

import { addressesIn } from "../permissions.ts";
import { controlVariable, detourVariable, urlVariable } from "../servers/backend.ts";
import { composeServer } from "../servers/compose.ts";
import { type ControlEndpoint, serveControl } from "../servers/control.ts";
import { kindOf, serverKinds } from "../servers/kinds.ts";
import type { ServerKind, TestServer } from "../servers/server.ts";

/** Another server for the tests of a provider: Valkey for those of Redis. */
export interface Variant {
  readonly name: string;
  readonly provider: string;
  /** See `ServerKind`. */
  readonly inGate?: RegExp | undefined;
}

/** A server that is there, for as long as its tests run. */
export interface ReadyBackend {
  /** What the provider opens. */
  readonly url: string;
  /** The control endpoint, where the tests have a hold on the server. */
  readonly control: string | undefined;
  /** `HOST:PORT` of a detour to the server. */
  readonly detour: string | undefined;
  /** A directory of the server's programs, where the search path has others of their names. */
  readonly path: string | undefined;
  /** The variables by which the tests find it. */
  readonly env: Readonly<Record<string, string>>;
  /** Ends it. */
  stop(): Promise<void>;
}

const started = new Set<() => Promise<void>>();

/** Lists the servers that are not the first one of their provider. */
export async function findVariants(): Promise<Variant[]> {
  return (await serverKinds()).flatMap(({ name, provider, inGate }) =>
    provider === undefined ? [] : [{ name, provider, inGate }]
  );
}

/**
 * Makes the server of a backend available, or a variant of it.
 *
 * @throws {Error} if there is no way to; the message says why for each way
 */
export async function prepareBackend(name: string): Promise<ReadyBackend> {
  const kind = await kindOf(name);
  const { provider = name, path } = kind;
  const url = Deno.env.get(urlVariable(name));
  if (url) {
    const [control, detour] = [controlVariable(name), detourVariable(name)].map((each) => Deno.env.get(each));
    return describe({ provider, url, control, detour, path, end: () => Promise.resolve() });
  }
  const reasons: string[] = [];
  const ways = [() => composeServer(kind)];
  if (Deno.env.get("ELECT_TEST_SERVERS") !== "docker") ways.unshift(() => startLocal(kind));
  for (const start of ways) {
    try {
      const server = await start();
      const control = await serveControl(server, addressesIn(server.url)[0] ?? "");
      const end = () => stop(server, control);
      return describe({ provider, url: server.url, control: control.url, detour: control.detour, path, end });
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

async function startLocal(kind: ServerKind): Promise<TestServer> {
  await kind.install();
  return await kind.start();
}

async function stop(server: TestServer, control: ControlEndpoint): Promise<void> {
  await control.close();
  await server.stop();
}

function describe(
  { provider, end, ...backend }: Pick<ReadyBackend, "url" | "control" | "detour" | "path"> & {
    readonly provider: string;
    end(): Promise<void>;
  },
): ReadyBackend {
  started.add(end);
  const { url, control, detour } = backend;
  return {
    ...backend,
    env: {
      [urlVariable(provider)]: url,
      ...(control && { [controlVariable(provider)]: control }),
      ...(detour && { [detourVariable(provider)]: detour }),
    },
    async stop() {
      started.delete(end);
      await end();
    },
  };
}
