/**
 * `elect providers`: what leases can be kept in.
 *
 * @module
 */

import process from "node:process";
import { type ProviderDefinition, providers } from "../../mod.ts";
import { CARDS } from "../../providers/catalog.ts";
import type { ProviderCapabilities } from "../../src/provider.ts";
import type { Command, Invocation } from "../args.ts";
import { EXIT } from "../exit.ts";
import { outputTo } from "../output.ts";
import { scoped } from "../scope.ts";
import { loadAllProviders } from "../target.ts";

/** `elect providers`. */
export const providersCommand: Command = {
  name: "providers",
  usage: "",
  summary: "Lists the providers, the URLs that each opens, and what each can do.",
  details: "Includes those that --import registers. Connects to nothing.",
  example: "elect providers --import ./my_provider.ts",
  options: [],
  run: list,
};

async function list(invocation: Invocation): Promise<number> {
  await loadAllProviders(invocation);
  const output = outputTo(process.stdout, invocation.json);
  for (const definition of providers()) {
    const capabilities = await capabilitiesOf(definition);
    const { name, protocols } = definition;
    output.print(
      `${output.strong(name.padEnd(11))} ${protocols.join(" ")}${capabilities === null ? "" : describe(capabilities)}`,
      { name, protocols, capabilities },
    );
  }
  return EXIT.done;
}

/** Opening a provider does no I/O, so a made-up address will do; null where the provider wants more than that. */
async function capabilitiesOf(definition: ProviderDefinition): Promise<ProviderCapabilities | null> {
  try {
    const target = CARDS.find(({ name }) => name === definition.name)?.sample ??
      `${definition.protocols[0]}//localhost`;
    return await scoped(async (use) => use(await definition.open(target, {})).capabilities);
  } catch {
    return null;
  }
}

function describe(
  { watch, transfer = false, timeAuthority, minTimeout, maxTimeout, durability }: ProviderCapabilities,
): string {
  const range = maxTimeout === undefined ? `from ${minTimeout} ms` : `${minTimeout} to ${maxTimeout} ms`;
  return `\n            ${watch ? "hints" : "polls"}${
    transfer ? ", and whom a transfer is for" : ""
  }; the ${timeAuthority}'s clock decides; ` +
    `heartbeatTimeout ${range}\n            ${durability}`;
}
