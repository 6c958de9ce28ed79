/** Finds the `ServerKind` of each backend: one file beside this one exports it, under a name that ends in `Server`. */

import { readdir } from "node:fs/promises";
import type { ServerKind } from "./server.ts";

/** Returns the kinds of all files here. */
export async function serverKinds(): Promise<ServerKind[]> {
  const files = (await readdir(new URL(".", import.meta.url))).filter((file) => file.endsWith(".ts")).sort();
  const kinds: ServerKind[] = [];
  // A file that does its work at import is not a kind's.
  for (const file of files.filter((each) => each !== "serve.ts")) {
    const module: Record<string, unknown> = await import(new URL(file, import.meta.url).href);
    kinds.push(
      ...Object.entries(module).filter(([key]) => key.endsWith("Server")).map(([, value]) => value).filter(isKind),
    );
  }
  return kinds;
}

/** Returns the kind of the provider `name`. */
export async function kindOf(name: string): Promise<ServerKind> {
  const kinds = await serverKinds();
  const kind = kinds.find((each) => each.name === name);
  if (kind === undefined) {
    throw new TypeError(`Cannot start server "${name}": known are ${kinds.map((each) => each.name).join(", ")}`);
  }
  return kind;
}

function isKind(value: unknown): value is ServerKind {
  return typeof value === "object" && value !== null && "install" in value && "start" in value && "name" in value;
}
