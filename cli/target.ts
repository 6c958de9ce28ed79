/**
 * From the command line to a provider and an election.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type ElectionOptions, LeaderElection, type OpenOptions, openProvider, type Provider } from "../mod.ts";
import { CARDS } from "../providers/catalog.ts";
import { ConfigError } from "../src/errors.ts";
import { type ElectionConfig, resolveOptions } from "../src/options.ts";
import { redact } from "../src/redact.ts";
import { cardFor } from "../src/registry.ts";
import type { Invocation } from "./args.ts";
import { asUsage } from "./exit.ts";
import { MODULES } from "./modules.ts";
import { logTo } from "./output.ts";
import { standardError } from "./streams.ts";

/** The part of a command line that says where the lease is kept. */
export type Target = Pick<Invocation, "provider" | "imports" | "json" | "logLevel">;

/** The longest time that a command waits for one answer of a backend, in milliseconds. */
export const PATIENCE_MS = 5_000;

/** Loads every provider of this package, and the modules of `--import`. */
export async function loadAllProviders(invocation: Target): Promise<void> {
  await loadImports(invocation);
  for (const load of Object.values(MODULES)) await load();
}

/** Returns the URL that the command line, the environment or the default names. */
export function targetOf(invocation: Target): string {
  const target = invocation.provider || process.env["ELECT_PROVIDER"] || defaultTarget();
  // Valkey speaks the protocol of Redis, and its providers call their URLs so.
  return target.replace(/^valkey(s?):/i, "redis$1:");
}

/** Returns whether nobody has said where the lease is kept. */
export function isLocalByDefault(invocation: Target): boolean {
  return !invocation.provider && !process.env["ELECT_PROVIDER"];
}

/**
 * Returns the directory in which the commands of a target are entered that run on this host: with its leases, if it is
 * one.
 */
export function registerDirectory(target: string): string {
  if (/^file:/i.test(target)) {
    const path = /^file:\//i.test(target)
      ? fileURLToPath(target)
      : resolve(decodeURIComponent(target.slice("file:".length)));
    return join(path, "~commands");
  }
  return join(stateDirectory(), "elect-commands", createHash("sha256").update(target).digest("hex").slice(0, 32));
}

/**
 * Opens the provider that the command line names.
 *
 * @throws {ConfigError} if it cannot be opened
 */
export async function openTarget(
  invocation: Target,
  more: OpenOptions = {},
): Promise<Provider> {
  await loadImports(invocation);
  const target = targetOf(invocation);
  try {
    await MODULES[cardFor(target, CARDS)?.name ?? ""]?.();
    return await openProvider(target, {
      logger: logTo(standardError, invocation.logLevel, invocation.json),
      ...more,
    });
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/**
 * Makes the election that the command line describes; it is not started.
 *
 * @throws {UsageError | ConfigError} if its values are malformed, or cannot work together
 */
export function electionOf(
  provider: Provider,
  invocation: Invocation,
  more: Partial<ElectionOptions> = {},
): { election: LeaderElection; config: ElectionConfig } {
  const options: ElectionOptions = {
    electionGroup: invocation.group,
    participantId: invocation.id,
    heartbeatInterval: invocation.heartbeatInterval,
    heartbeatTimeout: invocation.heartbeatTimeout,
    metadata: invocation.metadata,
    campaignDelay: invocation.campaignDelay,
    logger: logTo(standardError, invocation.logLevel, invocation.json),
    enableDetailedLogging: invocation.logLevel === "debug",
    ...more,
  };
  return asUsage(() => ({ election: new LeaderElection(provider, options), config: resolveOptions(options) }));
}

/** Returns the option of a single question to a backend that bounds how long it may last. */
export function patience(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(PATIENCE_MS) };
}

async function loadImports(invocation: Target): Promise<void> {
  for (const specifier of invocation.imports) {
    const isPath = /^(\.{0,2}[/\\]|[A-Za-z]:\\)/.test(specifier);
    try {
      // Only the user knows what is to be imported, so this cannot be a literal.
      await import(isPath ? pathToFileURL(resolve(specifier)).href : specifier);
    } catch (error) {
      const why = redact(error instanceof Error ? error.message.split("\n", 1)[0] ?? "" : String(error));
      throw new ConfigError(`Cannot import "${specifier}": ${why}`, { cause: error });
    }
  }
}

/** A directory of the user's own, so that `elect` works on one machine without any setting. */
function defaultTarget(): string {
  return pathToFileURL(join(stateDirectory(), "elect")).href;
}

function stateDirectory(): string {
  if (process.platform === "win32") return process.env["LOCALAPPDATA"] || join(homedir(), "AppData", "Local");
  if (process.platform === "darwin") return join(homedir(), "Library", "Application Support");
  return process.env["XDG_STATE_HOME"] || join(homedir(), ".local", "state");
}
