/**
 * The plug-in registry: which provider opens which URL. It lives on `globalThis`, so that two copies of the core in one
 * process, for example from JSR and from a local path, share it.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import type { Logger } from "./logger.ts";
import type { Provider } from "./provider.ts";
import { redact } from "./redact.ts";

/** What a provider gets beside its URL. */
export interface OpenOptions {
  /** The clock that the provider measures with. @default the clock of the machine */
  readonly clock?: Clock;
  /** Where the provider says what it does. @default nowhere */
  readonly logger?: Logger;
  /**
   * Returns the ids of processes on this host, beside this one, that act for the holder of a lease. Where a backend frees
   * the lease of a dead process at once (`file:`), these must be dead too. @default nobody else
   */
  readonly heldBy?: () => readonly number[];
}

/** A provider as the registry knows it. */
export interface ProviderDefinition {
  /** A short name, such as `"redis"`. */
  readonly name: string;
  /** The URL schemes that it opens, each with its colon, such as `["redis:", "rediss:"]`. */
  readonly protocols: readonly string[];
  /** Whether it opens a target that its schemes do not tell, such as a connection string. Asked after all schemes. */
  matches?(target: string): boolean;
  /** Makes a provider, without I/O. `url` is as the user gave it. */
  open(url: string, options: OpenOptions): Provider | Promise<Provider>;
}

const REGISTRY = Symbol.for("@multilock/core/registry@1");
const registry: Map<string, ProviderDefinition> =
  ((globalThis as { [REGISTRY]?: Map<string, ProviderDefinition> })[REGISTRY] ??= new Map());

/** The schemes of the providers in this package that are not registered by `mod.ts`, and the module of each. */
const MODULE_OF_SCHEME: Readonly<Record<string, string>> = {
  "postgres:": "postgres",
  "postgresql:": "postgres",
  "sqlserver:": "sqlserver",
  "mssql:": "sqlserver",
  "redis:": "redis",
  "rediss:": "redis",
  "redis+sentinel:": "redis",
  "rediss+sentinel:": "redis",
  "redis+cluster:": "redis",
  "rediss+cluster:": "redis",
  "azblob:": "azure-blob",
  "consul:": "consul",
  "consul+https:": "consul",
  "zookeeper:": "zookeeper",
};

/**
 * Makes a provider known to {@linkcode openProvider} and `elect`.
 *
 * Registering the same name twice keeps the first, silently, if the schemes are the same too.
 *
 * @throws {TypeError} if the definition is malformed, if the name is taken with other schemes, or if a scheme is taken
 */
export function registerProvider(definition: ProviderDefinition): void {
  const { name, protocols } = definition;
  if (typeof name !== "string" || !/^[A-Za-z][A-Za-z0-9_.-]*$/.test(name)) {
    throw new TypeError(`Cannot register provider "${name}": a name must match /^[A-Za-z][A-Za-z0-9_.-]*$/`);
  }
  if (!Array.isArray(protocols) || !protocols.every((scheme) => /^[a-z][a-z0-9+.-]*:$/.test(scheme))) {
    throw new TypeError(`Cannot register provider "${name}": protocols must be schemes such as "redis:"`);
  }
  if (typeof definition.open !== "function") {
    throw new TypeError(`Cannot register provider "${name}": open must be a function`);
  }
  const earlier = registry.get(name);
  if (earlier !== undefined) {
    if ([...earlier.protocols].sort().join() === [...protocols].sort().join()) return;
    throw new TypeError(
      `Cannot register provider "${name}": the name is taken by a provider of ${earlier.protocols.join(", ")}`,
    );
  }
  for (const scheme of protocols) {
    const owner = findByScheme(scheme);
    if (owner) throw new TypeError(`Cannot register provider "${name}": "${scheme}" is taken by "${owner.name}"`);
  }
  registry.set(name, definition);
}

/** Returns the registered providers, in the order in which they were registered. */
export function providers(): readonly ProviderDefinition[] {
  return [...registry.values()];
}

/**
 * Opens the provider of `url`, without I/O. The caller owns it, and closes it with `await using` or `[Symbol.asyncDispose]()`.
 *
 * @throws {TypeError} if no registered provider opens the URL; the message names the import that would help
 */
export async function openProvider(url: string | URL, options: OpenOptions = {}): Promise<Provider> {
  const target = String(url);
  const scheme = schemeOf(target);
  const definition = findByScheme(scheme) ?? providers().find((each) => each.matches?.(target));
  if (definition === undefined) throw new TypeError(explainUnknown(target, scheme));
  return await definition.open(target, options);
}

function findByScheme(scheme: string): ProviderDefinition | undefined {
  return providers().find((definition) => definition.protocols.includes(scheme));
}

function schemeOf(target: string): string {
  return /^[A-Za-z][A-Za-z0-9+.-]*:/.exec(target)?.[0].toLowerCase() ?? "";
}

function explainUnknown(target: string, scheme: string): string {
  const module = Object.hasOwn(MODULE_OF_SCHEME, scheme) ? MODULE_OF_SCHEME[scheme] : moduleOfConnectionString(target);
  const known = providers().flatMap((definition) => definition.protocols).join(" ");
  const cure = module === undefined
    ? `known are ${known}; import the module that registers its provider`
    : `add: import "jsr:@multilock/core/${module}"`;
  return `Cannot open provider "${redact(target)}": no provider is registered for it; ${cure}`;
}

function moduleOfConnectionString(target: string): string | undefined {
  // The schemes of the web belong to no provider, but some of their hosts do.
  if (/^https?:\/\/([^/?#]*\.blob\.(core|storage)\.|[^/?#]*\/devstoreaccount1\b)/i.test(target)) return "azure-blob";
  if (/(^|;)\s*(AccountName|BlobEndpoint|UseDevelopmentStorage)=/i.test(target)) return "azure-blob";
  if (/(^|;)\s*host\s*=/i.test(target)) return "postgres";
  if (/(^|;)\s*(server|data\s*source|addr(ess)?|network\s*address)\s*=/i.test(target)) return "sqlserver";
  return undefined;
}
