/**
 * Debian packages that the tests unpack into a cache of their own. Nothing is installed: the machine need not be
 * root's, and does not learn of other releases.
 */

import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { findProgram, removeDirectory, run, temporaryDirectory } from "./process.ts";

/** Where the files of `name` are kept between runs, outside of the checkout. */
export function cacheDirectory(name: string): string {
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "multilock-tests", name);
}

const filling = new Map<string, Promise<void>>();

/** See {@linkcode fill}. Who comes while it is being made, or when that has failed, gets the same answer. */
export function fillCache(name: string, make: (directory: string) => Promise<void>): Promise<void> {
  const made = filling.get(name) ?? fill(name, make);
  filling.set(name, made);
  return made;
}

/**
 * Makes the cache of `name`: `make` fills a new directory, which is moved into place at the end, so that a half-done
 * one is never mistaken for it.
 *
 * @throws {Error} if it cannot be made; the message names it
 */
async function fill(name: string, make: (directory: string) => Promise<void>): Promise<void> {
  const place = cacheDirectory(name);
  try {
    if (process.env.ELECT_TEST_INSTALL === "0") throw new Error("ELECT_TEST_INSTALL=0 forbids it");
    await mkdir(join(place, ".."), { recursive: true });
    const made = `${place}.${process.pid}`;
    await rm(made, { recursive: true, force: true });
    await mkdir(made);
    try {
      await make(made);
      await rm(place, { recursive: true, force: true });
      await rename(made, place);
    } finally {
      await removeDirectory(made);
    }
  } catch (error) {
    throw new Error(`Cannot install "${name}": ${error instanceof Error ? error.message : error}`);
  }
}

/** Downloads packages of a release and unpacks them into `directory`. */
export function unpackDebian(suite: string, packages: readonly string[], directory: string): Promise<void> {
  return withApt(suite, "deb", async (apt, scratch) => {
    await apt("download", ...packages);
    for (const file of await readdir(scratch)) {
      if (file.endsWith(".deb")) await run("dpkg", ["-x", join(scratch, file), directory]);
    }
  });
}

/**
 * Downloads packages of a release with all that they depend on, as if the machine had nothing, and unpacks them into
 * `directory`: for programs that need the C library of their release, whose own loader then starts them.
 */
export function unpackDebianWhole(suite: string, packages: readonly string[], directory: string): Promise<void> {
  return withApt(suite, "deb", async (apt, scratch) => {
    const status = join(scratch, "status");
    await writeFile(status, "");
    await apt(
      "-o",
      `Dir::State::status=${status}`,
      "-y",
      "--no-install-recommends",
      "--download-only",
      "install",
      ...packages,
    );
    const archives = join(scratch, "cache/archives");
    for (const file of await readdir(archives)) {
      if (file.endsWith(".deb")) await run("dpkg", ["-x", join(archives, file), directory]);
    }
  });
}

/** Downloads the source of a package, and unpacks what its authors released into `directory`. */
export function unpackDebianSource(suite: string, name: string, directory: string): Promise<void> {
  return withApt(suite, "deb-src", async (apt, scratch) => {
    await apt("--download-only", "source", name);
    const archive = (await readdir(scratch)).find((file) => /\.orig\.tar\.\w+$/.test(file));
    if (archive === undefined) throw new Error(`Debian ${suite} gave no source of ${name}`);
    await run("tar", ["xf", join(scratch, archive), "-C", directory, "--strip-components=1"]);
  });
}

type Apt = (...args: string[]) => Promise<unknown>;

/** Gives apt sources, lists and caches of its own in a scratch directory, where it also leaves what it downloads. */
async function withApt(
  suite: string,
  type: "deb" | "deb-src",
  work: (apt: Apt, scratch: string) => Promise<void>,
): Promise<void> {
  if (await findProgram("apt-get") === null) throw new Error("there is no apt-get");
  const scratch = await temporaryDirectory("apt");
  try {
    const [lists, archives, sources] = ["state/lists/partial", "cache/archives/partial", "sources"]
      .map((each) => join(scratch, each)) as [string, string, string];
    await Promise.all([lists, archives, sources].map((each) => mkdir(each, { recursive: true })));
    await writeFile(join(sources, "debian.sources"), await sourceOf(suite, type));
    const options = [
      ...["Dir::Etc::SourceList=/dev/null", `Dir::Etc::SourceParts=${sources}`, `Dir::State=${scratch}/state`],
      ...[`Dir::Cache=${scratch}/cache`, "Dir::State::status=/var/lib/dpkg/status", "Acquire::Languages=none"],
      // The scratch directory is ours alone, so that apt's unprivileged user could not read it.
      "APT::Sandbox::User=",
    ].flatMap((option) => ["-o", option]);
    const apt: Apt = (...args) => run("apt-get", [...options, "-q", ...args], { cwd: scratch });
    await apt("update");
    await work(apt, scratch);
  } finally {
    await removeDirectory(scratch);
  }
}

/** The machine's own Debian source, with the release replaced: the mirror it may reach is the one it uses already. */
async function sourceOf(suite: string, type: string): Promise<string> {
  const directory = "/etc/apt/sources.list.d";
  const names = await readdir(directory).catch(() => []);
  const files = [...names.map((name) => join(directory, name)), "/etc/apt/sources.list"];
  const texts = await Promise.all(files.map((file) => readFile(file, "utf8").catch(() => "")));
  const uri = texts.join("\n").match(/^(?:URIs:\s*|deb\s+(?:\[[^\]]*\]\s+)?)(\S+\/debian)\/?(?=\s|$)/m)?.[1];
  if (uri === undefined) throw new Error("apt has no source of Debian's packages");
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
  return [
    `Types: ${type}`,
    `URIs: ${uri}`,
    `Suites: ${suite}`,
    "Components: main",
    `Signed-By: ${keyring}`,
    "",
  ].join("\n");
}
