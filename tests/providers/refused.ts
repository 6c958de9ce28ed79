/** Elections that cannot work: they say so at once, and for good. */

import assert from "node:assert/strict";
import { elect } from "../../src/elect.ts";
import { ProviderError } from "../../src/errors.ts";
import type { ElectionOptions } from "../../src/options.ts";
import type { Provider } from "../../src/provider.ts";
import { patience } from "../slowness.ts";

/**
 * Whether the runtime says what a server has told it about the client's certificate. Deno does so now and then: by TLS
 * 1.3 that comes after the handshake, and mostly shows as a connection that was closed.
 */
export const TELLS_ALERTS = !("Deno" in globalThis);

/** The password of URLs that are to be refused. It must show nowhere. */
export const SECRET = "hunter2-hunter2";

/**
 * Enters an election on `target`, which must reject at its first look, for good, in words that `says` matches and that
 * tell no {@linkcode SECRET}.
 */
export async function refused(
  target: string | URL | Provider,
  says: RegExp,
  options: Partial<ElectionOptions> = {},
): Promise<void> {
  const signal = AbortSignal.timeout(patience(60_000));
  const electing = elect(target, { electionGroup: crypto.randomUUID(), logger: null, signal, ...options });
  const end = electing.then(
    async (election) => {
      const { role, lastError } = election.status;
      await election.stop();
      return new Error(`it goes on as a ${role}, with ${lastError?.error}`);
    },
    (error: unknown) => error,
  );
  const error = await end;
  assert.ok(error instanceof ProviderError, `must reject with a ProviderError: ${error}`);
  assert.ok(error.permanent, `must be permanent: ${error.message}`);
  assert.match(error.message, says);
  assert.ok(!`${error.message} ${error.stack}`.includes(SECRET), "no credentials in errors");
}

/** As {@linkcode refused}, for one that takes part and for one that only observes. */
export async function refusedToAll(
  target: string | URL | Provider,
  says: RegExp,
  options: Partial<ElectionOptions> = {},
): Promise<void> {
  for (const observer of [false, true]) await refused(target, says, { ...options, observer });
}
