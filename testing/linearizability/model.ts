/**
 * The sequential model of the lease register: what one group's lease may answer, one call after the other.
 *
 * @module
 */

import type { RegisterOperation } from "./recorder.ts";

/** The assumptions of the model. */
export interface RegisterRules {
  /**
   * The state of an expired lease that nobody has taken over. `"final"`: over for everybody at the same moment, as
   * where the backend's clock decides. `"revocable"`: the least that the contract asks for. Then those who look may
   * differ until a successor is there, and the term may still renew, which gives it the lease back, unless it was told
   * that it is lost. A provider may also tell that to a term of which it does not know whether it is released yet.
   */
  readonly expiry: "final" | "revocable";
  /** By how much a clock that measures a lease may be fast, as a fraction. */
  readonly clockRateError: number;
  /** By how many milliseconds a lease may be shorter, since backends count in whole ones. */
  readonly resolutionMs: number;
}

/** The lease of one group. */
export interface RegisterState {
  /** The earliest moment at which what comes next can happen: what came before is not later. */
  readonly now: number;
  /** The term that has the lease. */
  readonly termId: string | null;
  /** Its token; null as long as nobody was told. */
  readonly token: bigint | null;
  /** The largest token that anybody was told. */
  readonly lastToken: bigint;
  /** `lapsed`: expired, but revocable; `over`: its own term was told so, or has given it up. */
  readonly life: "live" | "lapsed" | "over";
  /** When the last acquire or renewal of the term was sent: the backend cannot have counted from before that. */
  readonly renewedAt: number;
  /** For how long it was granted, in milliseconds. */
  readonly timeoutMs: number;
}

/** The lease of a group that nobody ever had. */
export const NEVER_HELD: RegisterState = {
  now: -Infinity,
  termId: null,
  token: null,
  lastToken: -1n,
  life: "live",
  renewedAt: -Infinity,
  timeoutMs: 0,
};

/**
 * Returns the states in which `operation` may leave the register, if its turn comes in `state`; none if its answer
 * would be wrong. `raced` says whether another acquire was under way. A state that the operation leaves alone is
 * returned itself.
 *
 * A lease need not end when it may, and so expiry is a step that is taken only where an answer cannot do without.
 */
export function successors(
  state: RegisterState,
  operation: RegisterOperation,
  raced: boolean,
  rules: RegisterRules,
): RegisterState[] {
  const now = Math.max(state.now, operation.invokedAt);
  const here = now === state.now ? state : { ...state, now };
  return answers(here, operation, raced, rules).filter((next) => next.now <= operation.answeredAt);
}

function answers(
  here: RegisterState,
  operation: RegisterOperation,
  raced: boolean,
  rules: RegisterRules,
): RegisterState[] {
  const { termId, seen } = operation;
  const isHolder = here.termId !== null && here.termId === termId;
  switch (operation.answer) {
    case "granted":
      return [...prolonged(here, operation), ...granted(here, operation, rules)];
    case "held":
      // Without a name it says that a race was lost: to one who has the lease now, or to one who was about to.
      if (seen === null) return raced || (here.termId !== null && !isHolder) ? [here] : [];
      return seen.termId === termId ? [] : shown(here, operation);
    case "renewed":
      return prolonged(here, operation);
    case "lost":
      if (!isHolder || here.life === "over") return [here];
      return expired(here, rules).map((end) => end.termId === null ? end : { ...end, life: "over" });
    case "released":
      return isHolder ? [freed(here)] : [];
    case "notHolder":
      return isHolder ? expired(here, rules) : [here];
    case "leader":
      return shown(here, operation);
    case "nobody":
      return here.termId === null ? [here] : expired(here, rules);
    case "unknown":
      // The call may have been carried out, or not. An unknown renewal never helps: no lease must end.
      if (operation.operation === "acquire") return granted(here, operation, rules);
      if (operation.operation !== "release" || !isHolder) return [];
      // Its own provider may have let go before the backend has.
      return rules.expiry === "final" ? [freed(here)] : [freed(here), { ...here, life: "over" }];
  }
}

/** A new term begins: on a lease that is free, or that may have expired. */
function granted(here: RegisterState, operation: RegisterOperation, rules: RegisterRules): RegisterState[] {
  const { termId, seen, invokedAt, heartbeatTimeout } = operation;
  const token = seen?.token ?? null;
  if (token !== null && token <= here.lastToken) return [];
  const lastToken = token ?? here.lastToken;
  const term = { termId, token, lastToken, life: "live", renewedAt: invokedAt, timeoutMs: heartbeatTimeout } as const;
  return (here.termId === null ? [here] : expired(here, rules)).map(({ now }) => ({ ...term, now }));
}

/** The term that has the lease keeps it for longer. */
function prolonged(here: RegisterState, operation: RegisterOperation): RegisterState[] {
  const { termId, invokedAt, heartbeatTimeout } = operation;
  if (here.termId === null || here.termId !== termId || here.life === "over") return [];
  const renewedAt = Math.max(here.renewedAt, invokedAt);
  return withToken(here, operation)
    .map((state) => ({ ...state, life: "live", renewedAt, timeoutMs: heartbeatTimeout }));
}

/** Somebody is told who holds the lease. */
function shown(here: RegisterState, operation: RegisterOperation): RegisterState[] {
  return here.termId !== null && here.termId === operation.seen?.termId ? withToken(here, operation) : [];
}

/** The token that was told is that of the term; or it is the first that is told, and then larger than all before. */
function withToken(here: RegisterState, { seen }: RegisterOperation): RegisterState[] {
  if (seen === null || here.token === seen.token) return [here];
  if (here.token !== null || seen.token <= here.lastToken) return [];
  return [{ ...here, token: seen.token, lastToken: seen.token }];
}

/** The lease has expired, and so it is at least as late as that can have been. */
function expired(here: RegisterState, { expiry, clockRateError, resolutionMs }: RegisterRules): RegisterState[] {
  if (here.life !== "live") return [here];
  const now = Math.max(here.now, here.renewedAt + here.timeoutMs * (1 - clockRateError) - resolutionMs);
  return [expiry === "final" ? freed({ ...here, now }) : { ...here, now, life: "lapsed" }];
}

function freed({ now, lastToken }: RegisterState): RegisterState {
  return { ...NEVER_HELD, now, lastToken };
}
