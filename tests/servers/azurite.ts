/** A real Azurite for the tests: Microsoft's own emulator of Azure Blob Storage, from npm, run by Deno. */

import { stat } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import {
  connectable,
  findProgram,
  freePort,
  removeDirectory,
  run,
  startProcess,
  temporaryDirectory,
} from "./process.ts";
import type { ServerKind, TestServer } from "./server.ts";

const PACKAGE = "npm:azurite@3.37.0";
/** Azurite writes its records to disk this often, in milliseconds. */
const SAVE_MS = 5_000;

/** Starts Azurite with its default account, whose key is public. */
export const azuriteServer: ServerKind = {
  name: "azure-blob",
  async install() {
    // Away from the checkout, whose configuration does not concern it.
    const directory = await temporaryDirectory("azurite");
    try {
      await run(await deno(), ["cache", "--no-config", `${PACKAGE}/azurite-blob`], { cwd: directory });
    } finally {
      await removeDirectory(directory);
    }
  },
  start: () => startAzurite(),
};

/** How to start an Azurite other than the default. */
export interface AzuriteSetup {
  /** An account, and its key in base64, in place of the default one. */
  readonly account?: { readonly name: string; readonly key: string };
}

/** Starts a server with `setup`. Its URL names a container that is not there yet. */
export async function startAzurite({ account }: AzuriteSetup = {}): Promise<TestServer> {
  const directory = await temporaryDirectory("azurite");
  const port = await freePort();
  const args = [
    ...["run", "-A", "--no-config", "--no-lock", `${PACKAGE}/azurite-blob`],
    ...["--blobHost", "127.0.0.1", "--blobPort", String(port), "--location", directory],
    ...["--silent", "--skipApiVersionCheck", "--disableTelemetry"],
  ];
  const env: Record<string, string> = { DENO_NO_UPDATE_CHECK: "1" };
  if (account) env.AZURITE_ACCOUNTS = `${account.name}:${account.key}`;
  const server = await startProcess({ command: await deno(), args, directory, env, ready: () => connectable(port) });
  return {
    url: account
      ? `http://${account.name}:${encodeURIComponent(account.key)}@127.0.0.1:${port}/${account.name}/elections`
      : `http://127.0.0.1:${port}/devstoreaccount1/elections`,
    ...server,
    /** Real storage answers a write when it is safe, Azurite up to five seconds before: only then is it ended. */
    async kill() {
      await saved(join(directory, "__azurite_db_blob__.json"), Date.now());
      await server.kill();
    },
    async stop() {
      await server.kill();
      await removeDirectory(directory);
    },
  };
}

/** Waits until `file` is newer than `since`, but no longer than a save can take: nothing may have changed. */
async function saved(file: string, since: number): Promise<void> {
  for (const end = since + SAVE_MS + 1_000; Date.now() < end;) {
    const { mtimeMs } = await stat(file).catch(() => ({ mtimeMs: 0 }));
    if (mtimeMs > since) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function deno(): Promise<string> {
  const found = "Deno" in globalThis ? process.execPath : await findProgram("deno");
  if (found === null) throw new Error('Cannot start server "azure-blob": there is no deno to run Azurite');
  return found;
}
