/**
 * Reads the URL of an ensemble, which names several servers and so is no URL that `URL` could parse.
 *
 * @module
 */

import { type Duration, parseDuration } from "../../src/duration.ts";
import { redact } from "../../src/redact.ts";
import type { Server } from "./connection.ts";

/** What a URL says. */
export interface ZooKeeperTarget {
  /** The servers, as they are named. */
  readonly servers: readonly Server[];
  /** The path under which groups are kept; without a slash at its end. */
  readonly root: string;
  /** `user:password`. */
  readonly credentials?: string;
  /** In milliseconds. */
  readonly sessionTimeout?: number;
}

const DEFAULT_PORT = 2181;
const DEFAULT_ROOT = "/multilock";

/**
 * Parses `zookeeper://[user:password@]host[:port][,host[:port]...][/root][?sessionTimeout=20s]`.
 *
 * @throws {TypeError | RangeError} that says what is wrong with it
 */
export function parseTarget(url: string): ZooKeeperTarget {
  const refuse = (why: string) => new TypeError(`Cannot open zookeeper "${redact(url)}": ${why}`);
  const match = /^zookeeper:\/\/(?:([^/?#]*)@)?([^/?#@]*)([^?#]*)(?:\?([^#]*))?$/i.exec(url);
  if (match === null) throw refuse('it must look like "zookeeper://host:2181,host:2181/root"');
  const [, user, hosts = "", path = "", query = ""] = match;
  // Most likely a password that was not encoded: what follows would name a part of it.
  if (`${path}${query}`.includes("@")) throw refuse("a slash, ? or @ in a password or root must be percent-encoded");
  const settings = new URLSearchParams(query);
  for (const key of settings.keys()) {
    if (key !== "sessionTimeout") throw refuse(`unknown setting "${key}"; known is sessionTimeout`);
  }
  const sessionTimeout = settings.get("sessionTimeout");
  if (user !== undefined && !/^[^:]+:./.test(user)) throw refuse("credentials must be user:password");
  return {
    servers: hosts.split(",").map((text) => parseServer(text, refuse)),
    root: parseRoot(decode(path, refuse), refuse),
    ...(user !== undefined && { credentials: decode(user, refuse) }),
    ...(sessionTimeout !== null && { sessionTimeout: parseDuration(asDuration(sessionTimeout), "sessionTimeout") }),
  };
}

/** A bare number is milliseconds, as in the options. What is neither is refused by whoever parses it. */
function asDuration(text: string): Duration {
  return (/^\d+$/.test(text) ? Number(text) : text) as Duration;
}

function parseServer(text: string, refuse: (why: string) => Error): Server {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]\s]+))(?::(\d+))?$/i.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? DEFAULT_PORT);
  if (host === undefined) throw refuse(`"${text}" is no host:port`);
  if (port < 1 || port > 65_535) throw refuse(`a port must be between 1 and 65535, got ${port}`);
  return { host, port };
}

function parseRoot(path: string, refuse: (why: string) => Error): string {
  const root = path.replace(/\/+$/, "");
  if (root === "") return DEFAULT_ROOT;
  const parts = root.split("/").slice(1);
  // deno-lint-ignore no-control-regex -- what ZooKeeper forbids in a path
  if (parts.some((part) => part === "" || part === "." || part === ".." || /[\u0000-\u001f\u007f-\u009f]/.test(part))) {
    throw refuse(`"${root}" is no path of ZooKeeper`);
  }
  if (parts[0] === "zookeeper") throw refuse('"/zookeeper" is reserved by ZooKeeper');
  return root;
}

function decode(text: string, refuse: (why: string) => Error): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refuse("a percent sign must be followed by two hexadecimal digits");
  }
}
