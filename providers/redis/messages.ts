/**
 * The messages that the scripts publish on the channel of a group, in our words. Hints, and no more: whoever may
 * publish may say anything.
 *
 * @module
 */

import type { Hint } from "../../src/provider.ts";
import { leaderHint, readMessage } from "../kit/hint_stream.ts";
import { millisecondsOf, recordOf } from "./answers.ts";

/** The message that only counts those who hear it. */
export const COUNTING = "?";

/** Reads a message; null for one that says nothing. One that cannot be read is a reason to look. */
export function hintOf(text: string): Hint | null {
  if (text === COUNTING) return null;
  if (!text.startsWith("[")) return readMessage(text) ?? {};
  return leaderHint(() => {
    const [stamp, ...fields] = JSON.parse(text) as unknown[];
    const { leader, expiresInMs } = recordOf(fields, millisecondsOf(stamp));
    return { ...leader, expiresIn: Math.max(expiresInMs, 1) };
  });
}
