/**
 * The meaning of the number of servers that decide by a majority for the durability of leases.
 *
 * @module
 */

import type { Finding } from "../../src/provider.ts";

/**
 * Judges how many servers have a vote.
 *
 * @param about the subject of the finding, such as `"members"`
 */
export function judgeServers(about: string, count: number): Finding {
  if (count >= 3) return { about, level: "ok", text: `${count}: leases survive the loss of a minority` };
  const text = count <= 1
    ? "one alone: nobody can lead while it is down, and its disk has all leases and tokens"
    : "two: the loss of either ends all elections";
  return { about, level: "warning", text, remedy: "three, or five" };
}
