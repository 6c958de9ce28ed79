/**
 * The package as its users get it: by URL, from JSR, and through JSR's npm layer. JSR itself is not asked; what it does
 * with a package is done here, with the files that `deno publish` would send.
 *
 * @module
 */

import assert from "node:assert/strict";
import { ROOT } from "../runner/command.ts";
import { succeed } from "./elects.ts";

/** The public name of the package. */
export const NAME = "@multilock/core";

interface Config {
  readonly version: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly imports: Readonly<Record<string, string>>;
}

const config: Config = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));

/** The names under which the package is imported: its own, and with a path for each further export. */
export const PUBLIC_NAMES: readonly string[] = Object.keys(config.exports).map((key) => NAME + key.slice(1));

/** Something that is served, until it is disposed of. */
export interface Served extends AsyncDisposable {
  /** Where, without a slash at the end. */
  readonly url: string;
  /** The paths that were asked for. */
  readonly asked: readonly string[];
}

/** A temporary directory, and a cache of Deno's that knows no module yet but has the packages of npm. */
export interface EmptyFolder extends AsyncDisposable {
  readonly path: string;
  readonly env: Readonly<Record<string, string>>;
}

/** Makes an empty folder, as somebody has who begins. */
export async function emptyFolder(): Promise<EmptyFolder> {
  const path = await Deno.makeTempDir({ prefix: "elect-getting-in-" });
  const { npmCache }: { npmCache: string } = JSON.parse(await succeed([Deno.execPath(), "info", "--json"], path));
  const cache = await Deno.makeTempDir({ prefix: "elect-getting-in-cache-" });
  await Deno.mkdir(npmCache, { recursive: true });
  await Deno.symlink(npmCache, `${cache}/npm`);
  return {
    path,
    env: { DENO_DIR: cache, DENO_NO_UPDATE_CHECK: "1" },
    async [Symbol.asyncDispose]() {
      await Deno.remove(path, { recursive: true });
      await Deno.remove(cache, { recursive: true });
    },
  };
}

/** Serves texts on 127.0.0.1, by their paths; `null` is not there. */
export function serve(find: (path: string) => string | null | Promise<string | null>): Served {
  const asked: string[] = [];
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    asked.push(pathname);
    const text = await find(pathname);
    const type = pathname.endsWith(".json") ? "application/json" : "application/typescript";
    return text === null
      ? new Response(null, { status: 404 })
      : new Response(text, { headers: { "content-type": type } });
  });
  return {
    url: `http://127.0.0.1:${server.addr.port}`,
    asked,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

/** Serves the checkout, as any web server would that does not know what it is. */
export function serveCheckout(): Served {
  return serve((path) => Deno.readTextFile(new URL(`.${path}`, ROOT)).catch(() => null));
}

let published: Promise<Map<string, string>> | undefined;

/** Returns what `deno publish` would send: by paths that begin with a slash, with the specifiers that JSR wants. */
export function publishedFiles(): Promise<Map<string, string>> {
  return published ??= readPublished();
}

async function readPublished(): Promise<Map<string, string>> {
  const output = await succeed([Deno.execPath(), "publish", "--dry-run", "--allow-dirty", "--no-check"], ROOT);
  const root = new RegExp(`^ *${RegExp.escape(ROOT.href)}(\\S+) \\(`, "gm");
  const paths = [...output.matchAll(root)].map(([, path = ""]) => path);
  assert.ok(paths.includes("mod.ts") && paths.includes("providers/redis/driver.ts"), output);
  return new Map(
    await Promise.all(paths.map(async (path): Promise<[string, string]> => {
      const text = await Deno.readTextFile(new URL(path, ROOT));
      return [`/${path}`, path.endsWith(".ts") ? withoutBareNames(text) : text];
    })),
  );
}

/** Replaces bare names, in code, by what the import map says of them. */
function withoutBareNames(text: string): string {
  return text.replace(/^(?! *(?:\*|\/\/)).*(?:from |import |import\()"([^"]+)"/gm, (line, name: string) => {
    const [, mapped = "", below = ""] = /^(@[^/]+\/[^/]+|[^/]+)(\/.*)?$/.exec(name) ?? [];
    const known = mapped === NAME ? `jsr:${NAME}` : config.imports[mapped];
    return known === undefined ? line : line.replace(`"${name}"`, `"${known}${below}"`);
  });
}

/** Serves the package as JSR does: what is there, which files a version has, and those. */
export async function serveJsr(): Promise<Served> {
  const files = await publishedFiles();
  const { version, exports } = config;
  const manifest: Record<string, { size: number; checksum: string }> = {};
  for (const [path, text] of files) {
    const bytes = new TextEncoder().encode(text);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
    manifest[path] = { size: bytes.length, checksum: `sha256-${digest.toHex()}` };
  }
  const [scope = "", name = ""] = NAME.slice(1).split("/");
  const meta = { scope, name, latest: version, versions: { [version]: {} } };
  const texts = new Map([
    [`/${NAME}/meta.json`, JSON.stringify(meta)],
    [`/${NAME}/${version}_meta.json`, JSON.stringify({ manifest, exports })],
    ...[...files].map(([path, text]): [string, string] => [`/${NAME}/${version}${path}`, text]),
  ]);
  return serve((path) => texts.get(path) ?? null);
}

/** The package as npm gets it. */
export interface NpmPackage {
  /** Where it lies, extracted. */
  readonly directory: string;
  /** Its tarball. */
  readonly tarball: string;
  /** The packages that npm installs with it, and their versions. */
  readonly dependencies: Readonly<Record<string, string>>;
}

let packed: Promise<NpmPackage> | undefined;

/** Puts the package, as npm gets it, into a directory: a tarball, and what is in it. It is made once. */
export async function packForNpm(inDirectory: string): Promise<NpmPackage> {
  const { directory, tarball, dependencies } = await (packed ??= pack());
  const [ownDirectory, ownTarball] = [`${inDirectory}/package`, `${inDirectory}/core.tgz`];
  await succeed(["cp", "-r", directory, ownDirectory], inDirectory);
  await Deno.copyFile(tarball, ownTarball);
  return { directory: ownDirectory, tarball: ownTarball, dependencies };
}

/**
 * Makes the package as JSR's npm layer does: each module compiled to JavaScript, with the declarations
 * that follow from its public types in `_dist`, and its source beside it; what it imports from npm as dependencies.
 */
async function pack(): Promise<NpmPackage> {
  const inDirectory = await Deno.makeTempDir({ prefix: "elect-getting-in-pack-" });
  addEventListener("unload", () => Deno.removeSync(inDirectory, { recursive: true }));
  const [directory, tarball] = [`${inDirectory}/package`, `${inDirectory}/core.tgz`];
  // Compiles and declares with the same code as JSR does. What else it makes of the package differs, and is done below.
  await succeed([Deno.execPath(), "pack", "--allow-dirty", "--output", tarball], ROOT);
  await succeed(["tar", "xzf", tarball], inDirectory);
  await moveDeclarations(directory, "");
  const dependencies: Record<string, string> = {};
  for (const [path, text] of await publishedFiles()) {
    if (!path.endsWith(".ts")) continue;
    for (const [, name = "", version = ""] of text.matchAll(/import\("npm:(@?[^@"]+)@([^"/]+)[^"]*"\)/g)) {
      dependencies[name] = version;
    }
    const source = text.replaceAll(/"npm:(@?[^@"]+)@[^"/]+([^"]*)"/g, '"$1$2"').replaceAll(
      /"(\.[^"]*)\.ts"/g,
      '"$1.js"',
    );
    await Deno.writeTextFile(`${directory}${path}`, source);
  }
  const exports = Object.fromEntries(
    Object.entries(config.exports).map(([key, path]) => {
      const module = path.slice(0, -".ts".length);
      return [key, { types: `./_dist/${module.slice(2)}.d.ts`, default: `${module}.js` }];
    }),
  );
  const manifest = { name: "@jsr/multilock__core", version: config.version, type: "module", exports, dependencies };
  await Deno.writeTextFile(`${directory}/package.json`, JSON.stringify(manifest));
  await succeed(["tar", "czf", tarball, "package"], inDirectory);
  return { directory, tarball, dependencies };
}

/** Moves the declarations to `_dist`: beside its source, TypeScript would read that instead. */
async function moveDeclarations(root: string, below: string): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(`${root}${below}`)) {
    if (isDirectory && name !== "_dist") await moveDeclarations(root, `${below}/${name}`);
    if (!name.endsWith(".d.ts")) continue;
    await Deno.mkdir(`${root}/_dist${below}`, { recursive: true });
    await Deno.rename(`${root}${below}/${name}`, `${root}/_dist${below}/${name}`);
  }
}

/** Returns the packages of npm that the files of a provider load. */
export function driversOf(name: string): Promise<string[]> {
  return packagesOf(new RegExp(`^/providers/${name.replaceAll("-", "_")}(\\.ts$|/)`));
}

/** Returns the packages of npm that files load. */
export async function packagesOf(files: RegExp): Promise<string[]> {
  const texts = [...await publishedFiles()].filter(([path]) => files.test(path)).map(([, text]) => text);
  const found = texts.flatMap((text) => [...text.matchAll(/import\("npm:(@?[^@"]+)@/g)]).map(([, name = ""]) => name);
  return [...new Set(found)].sort();
}
