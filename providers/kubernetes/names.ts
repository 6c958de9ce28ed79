/**
 * The names of Lease objects. Group names that an object may not have are written in another way, the true one in an
 * annotation.
 *
 * @module
 */

import { createHash } from "node:crypto";

/** The annotation with the group of a Lease. */
export const GROUP = "multilock/group";

/** The names that objects may have: a domain name in lower case (RFC 1123). */
const OBJECT_NAME = /^(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
/** The form of the names that `nameOf` makes of others. No group keeps a name that looks like this. */
const WRITTEN = /^(.*-)?multilock-[0-9a-f]{40}$/;
/** The longest part of a group name that people get to read, in characters. */
const READABLE = 150;

/**
 * Returns the name of the Lease of a group: its own where an object may have it, so that other programs find it; else
 * what is readable of it, and a hash of 160 bits that tells it from every other.
 */
export function nameOf(electionGroup: string): string {
  if (OBJECT_NAME.test(electionGroup) && !WRITTEN.test(electionGroup)) return electionGroup;
  const readable = electionGroup.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-").slice(0, READABLE).replace(/^-|-$/g, "");
  const hash = createHash("sha256").update(electionGroup).digest("hex").slice(0, 40);
  return `${readable === "" ? "" : `${readable}-`}multilock-${hash}`;
}

/** Returns the group of a Lease, given its annotations; null if it is nobody's: its name is not that of the group. */
export function groupOf(name: string, annotations: Readonly<Record<string, string>>): string | null {
  const group = annotations[GROUP] ?? name;
  return nameOf(group) === name ? group : null;
}
