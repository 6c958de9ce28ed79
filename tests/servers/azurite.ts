/** A real Azurite for the tests: Microsoft's own emulator of Azure Blob Storage, from npm, run by Deno. */

import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
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
/** Azurite writes its records, and where the content of each is, to two files, each this often, in milliseconds. */
const SAVE_MS = 5_000;
/** How long a save may take on a busy machine. */
const SAVING_MS = 1_500;

/** Starts Azurite with its default account, whose key is public. */
export const azuriteServer: ServerKind = {
  name: "azure-blob",
  compose: {
    url: "http://127.0.0.1:50000/devstoreaccount1/elections",
    image: "mcr.microsoft.com/azure-storage/azurite:3.35.0",
    port: 10000,
    command: ["azurite-blob", "--blobHost", "0.0.0.0", "--skipApiVersionCheck", "--disableTelemetry", "--silent"],
    healthCheck: ["nc", "-z", "127.0.0.1", "10000"],
  },
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
    /**
     * Real storage answers a write when it is safe, Azurite up to five seconds before: only then is it ended. That a
     * file is newer does not tell that much: its save may have begun earlier, and the other file may still lack what it
     * refers to.
     */
    async kill() {
      await delay(SAVE_MS + SAVING_MS);
      await server.kill();
    },
    async stop() {
      await server.kill();
      await removeDirectory(directory);
    },
  };
}

async function deno(): Promise<string> {
  const found = "Deno" in globalThis ? process.execPath : await findProgram("deno");
  if (found === null) throw new Error('Cannot start server "azure-blob": there is no deno to run Azurite');
  return found;
}
