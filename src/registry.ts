/**
 * The plug-in registry: which provider opens which URL. It lives on `globalThis`, so that two copies of the core in one
 * process, for example from JSR and from a local path, share it.
 *
 * @module
 */

import { checkMethods } from "./call_options.ts";
import type { Clock } from "./time/clock.ts";
import type { Logger } from "./logger.ts";
import type { Provider } from "./provider.ts";
import { redact } from "./redact.ts";
import { nearest } from "./spelling.ts";

/** Options of `openProvider`, which a provider gets beside its URL. */
export interface OpenOptions {
  /** The clock that the provider measures with. @default the clock of the machine */
  readonly clock?: Clock | undefined;
  /** Where the provider says what it does. @default nowhere */
  readonly logger?: Logger | undefined;
  /**
   * Returns the ids of processes on this host, beside this one, that act for the holder of a lease. Where a backend
   * frees the lease of a dead process at once (`file:`), these must be dead too. @default nobody else
   */
  readonly heldBy?: (() => readonly number[]) | undefined;
}

/** Facts about a provider that are known before its module is loaded. */
export interface ProviderCard {
  /** A short name, such as `"redis"`. */
  readonly name: string;
  /** The URL schemes that it opens, each with its colon, such as `["redis:", "rediss:"]`. */
  readonly protocols: readonly string[];
  /** Returns true if it opens a target that its schemes do not tell, such as a connection string. */
  readonly matches?: (target: string) => boolean;
  /** The name of the backend, as people write it. */
  readonly title: string;
  /** True if followers are told that a lease may have become free, instead of asking again and again. */
  readonly watch: boolean;
  /** The export of this package that registers it: `redis` for `jsr:@multilock/core/redis`. */
  readonly module: string;
  /** The port that its backend usually listens on. */
  readonly port?: number;
  /** A target that it would open. */
  readonly sample: string;
  /** The narrowest Deno permissions that it runs with; `HOST:PORT`, `DIR` and `FILES` stand for those of the target. */
  readonly permissions: readonly string[];
}

/** A provider as the registry knows it. */
export interface ProviderDefinition {
  /** A short name, such as `"redis"`. */
  readonly name: string;
  /** The URL schemes that it opens, each with its colon, such as `["redis:", "rediss:"]`. */
  readonly protocols: readonly string[];
  /**
   * Returns true if it opens a target that its schemes do not tell, such as a connection string. Asked after all
   * schemes.
   */
  matches?(target: string): boolean;
  /** Makes a provider, without I/O. `url` is as the user gave it. */
  open(url: string, options: OpenOptions): Provider | Promise<Provider>;
}

const REGISTRY = Symbol.for("@multilock/core/registry@1");
const registry: Map<string, ProviderDefinition> =
  ((globalThis as { [REGISTRY]?: Map<string, ProviderDefinition> })[REGISTRY] ??= new Map());
/** Cards that have been announced to this copy of the core. */
const announced = new Map<string, ProviderCard>();

/** Makes the cards of providers known, so that an error can name the module that would open a target. */
export function announceProviders(cards: readonly ProviderCard[]): void {
  for (const card of cards) announced.set(card.name, card);
}

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
 * Opens the provider of `url`, without I/O. The caller owns it, and closes it with `await using` or
 * `[Symbol.asyncDispose]()`.
 *
 * @throws {TypeError} if no registered provider opens the URL; the message names the import that would help
 */
export async function openProvider(url: string | URL, options: OpenOptions = {}): Promise<Provider> {
  const target = String(url);
  const scheme = schemeOf(target);
  const definition = findByScheme(scheme) ?? providers().find((each) => each.matches?.(target));
  if (definition === undefined) throw new TypeError(explainUnknown(target, scheme));
  const provider = await definition.open(target, options);
  checkMethods(`what "${definition.name}" opens`, provider, ["acquire", "renew", "release", "read"]);
  return provider;
}

function findByScheme(scheme: string): ProviderDefinition | undefined {
  return providers().find((definition) => definition.protocols.includes(scheme));
}

function schemeOf(target: string): string {
  return /^[A-Za-z][A-Za-z0-9+.-]*:/.exec(target)?.[0].toLowerCase() ?? "";
}

/** Names the import, or the form of the target, that would have helped. */
function explainUnknown(target: string, scheme: string): string {
  const refuse = (cure: string) =>
    `Cannot open provider "${redact(target)}": no provider is registered for it; ${cure}`;
  const card = cardFor(target, [...announced.values()]);
  if (card !== undefined) return refuse(`add: import "jsr:@multilock/core/${card.module}"`);
  const [, host, port] = /^(?:[a-z]+:\/\/)?([^/@:;=?#\s]+|\[[0-9a-f:]+\]):(\d+)(?:\/[^@]*)?$/i.exec(target) ?? [];
  const usual = [...announced.values()].find((each) => each.port === Number(port));
  if (usual !== undefined) return refuse(`did you mean "${usual.protocols[0]}//${host}:${port}"?`);
  if (/^\.{0,2}\//.test(target)) return refuse(`did you mean "file:${redact(target)}"?`);
  const schemes = new Set([...providers(), ...announced.values()].flatMap(({ protocols }) => protocols));
  const [, unmarked, rest] = /^([a-z+]+)(\/\/.*)$/i.exec(target) ?? [];
  if (schemes.has(`${unmarked}:`)) return refuse(`did you mean "${unmarked}:${redact(String(rest))}"?`);
  const near = nearest(scheme, [...schemes]);
  if (near !== undefined) return refuse(`did you mean "${near}"?`);
  return refuse(`known are ${[...schemes].join(" ")}; import the module that registers its provider`);
}

/** Returns the card of the provider that opens `target`. */
export function cardFor(target: string, cards: readonly ProviderCard[]): ProviderCard | undefined {
  const scheme = schemeOf(target);
  return cards.find(({ protocols }) => protocols.includes(scheme)) ?? cards.find((each) => each.matches?.(target));
}
