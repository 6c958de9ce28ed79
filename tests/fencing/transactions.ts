/** What a fence must do with the transactions of its caller: see `stores.ts`. */

import assert from "node:assert/strict";
import { FencedError } from "../../fencing/mod.ts";
import { type Store, STORES } from "./stores.ts";

/** A statement of a session that has begun a transaction, or has not. */
export type Session = (text: string) => Promise<unknown>;

/**
 * A higher token waits until the transaction of a lower one has ended; what that transaction wrote is there by then.
 * `admit` admits a token on the connection of `session`.
 */
export async function waitsForTheLower(
  kind: string,
  url: string,
  session: Session,
  admit: (resource: string, token: bigint) => Promise<void>,
): Promise<void> {
  const store = await STORES[kind]?.(url) as Store;
  const resource = `waits-${Date.now()}`;
  try {
    await store.setUp();
    for (const end of ["ROLLBACK", "COMMIT"]) {
      await store.write(resource, 1n, "before", true);
      await session("BEGIN");
      await admit(resource, 2n);
      await session(`UPDATE fenced SET value = 'lower' WHERE resource = '${resource}'`);
      let isOver = false;
      let isEarly = false;
      const higher = store.write(resource, 3n, "higher", true).then(() => isEarly = !isOver);
      await new Promise((resolve) => setTimeout(resolve, 300));
      isOver = true;
      await session(end);
      await higher;
      assert.equal(isEarly, false, "a higher token was admitted while a lower one's transaction was open");
      assert.equal(await store.read(resource), "higher");
      await session("BEGIN");
      await assert.rejects(admit(resource, 2n), FencedError);
      await session("ROLLBACK");
      await store.loseGuard(resource);
      await store.setUp();
    }
    // Outside of a transaction nothing is admitted that could be relied upon.
    await assert.rejects(admit(resource, 9n), /in no transaction/);
  } finally {
    await store.close();
  }
}
