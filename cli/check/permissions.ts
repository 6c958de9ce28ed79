/**
 * A check that elections may do all that they do, one thing after another, in a group of its own.
 *
 * @module
 */

import type { Finding, Provider } from "../../mod.ts";
import type { ElectionConfig } from "../../src/options.ts";
import { redact } from "../../src/redact.ts";
import { patience } from "../target.ts";

/** The group in which it is tried. */
export const CHECK_GROUP = "elect-check";

/** The results of the tries. */
export interface Permissions {
  readonly findings: readonly Finding[];
  /** The lead of the backend's clock over this host's, in milliseconds; null where it was not asked. */
  readonly clockOffsetMs: number | null;
}

/**
 * Tries each operation. With `observer` set it writes nothing; else it leads {@linkcode CHECK_GROUP} for a moment, and
 * leaves its token behind, as every group has one.
 */
export async function tryPermissions(provider: Provider, config: ElectionConfig): Promise<Permissions> {
  const findings: Finding[] = [];
  const attempt = async <T>(
    about: string,
    work: () => Promise<T>,
    text: (result: T) => string,
    expected?: T,
  ): Promise<T | undefined> => {
    try {
      const result = await work();
      const isExpected = expected === undefined || result === expected;
      const remedy = isExpected ? undefined : "find out who else writes there: elect groups, elect watch";
      findings.push({ about, level: isExpected ? "ok" : "error", text: text(result), remedy });
      return result;
    } catch (error) {
      const why = redact(error instanceof Error ? error.message : String(error));
      findings.push({
        about,
        level: "error",
        text: why,
        remedy: `docs/backends/${provider.name}.md has what is needed`,
      });
      return undefined;
    }
  };
  await attempt("read", () => provider.read(CHECK_GROUP, patience()), () => "may be read");
  if (provider.watch !== undefined) {
    await attempt("watch", () => firstHint(provider), (isLive) => isLive ? "gives hints" : "gives none here");
  }
  if (provider.groups !== undefined) {
    await attempt(
      "groups",
      () => provider.groups?.(patience()) ?? Promise.resolve([]),
      (all) => `${all.length} are known`,
    );
  }
  if (config.observer) return { findings, clockOffsetMs: null };
  const { participantId, heartbeatTimeout, clock } = config;
  const request = { electionGroup: CHECK_GROUP, participantId, termId: crypto.randomUUID(), heartbeatTimeout };
  const sent = clock.wall();
  let answered = sent;
  const granted = await attempt(
    "acquire",
    () => provider.acquire({ ...request, metadata: {} }, patience()).finally(() => answered = clock.wall()),
    (answer) => answer.acquired ? "may be led" : "may be asked for; another check leads it right now",
  );
  if (granted?.acquired !== true) return { findings, clockOffsetMs: null };
  const { lease } = granted;
  await attempt("renew", () => provider.renew(lease, patience()), (outcome) => outcome, "renewed");
  await attempt("release", () => provider.release(lease, patience()), (outcome) => outcome, "released");
  return { findings, clockOffsetMs: lease.acquiredAt.getTime() - (sent + answered) / 2 };
}

/** The first hint of a stream says that it is live. */
async function firstHint(provider: Provider): Promise<boolean> {
  const ended = new AbortController();
  const signal = AbortSignal.any([ended.signal, patience().signal]);
  try {
    for await (const _ of provider.watch?.(CHECK_GROUP, { signal }) ?? []) return true;
    signal.throwIfAborted();
    return false;
  } finally {
    ended.abort();
  }
}
