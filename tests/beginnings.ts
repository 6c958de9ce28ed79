/**
 * The beginnings of the files of a new provider, which its author goes on with. Each works as it is: the tests run the
 * conformance suite, the benchmark measures the provider.
 */

import type { ProviderCard } from "../src/registry.ts";

/** Returns the beginning of the file at `path`; null where only the author can write it. */
export function beginningOf(path: string, card: ProviderCard): string | null {
  const file = card.name.replaceAll("-", "_");
  switch (path) {
    case `tests/providers/${file}_test.ts`:
      return card.port === undefined ? embeddedTest(card, file) : serverTest(card, file);
    case `tests/mutants/providers/${file}.ts`:
      return mutants(card);
    case `bench/backends/${file}.ts`:
      return bench(card, file);
    case `docs/backends/${card.name}.md`:
      return page(card);
    default:
      return null;
  }
}

function serverTest({ name, title }: ProviderCard, file: string): string {
  return `/** The provider of ${title} against a real server. */

import { test } from "node:test";
import { openProvider } from "../../src/registry.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { backend, detourTo } from "../servers/backend.ts";
import "../../providers/${file}.ts";

const server = backend("${name}");
if (server !== null) {
  const { url, faults } = server;
  const target = { name: "${name}", open: () => openProvider(url), faults, ...detourTo("${name}", openProvider) };
  for (const { name, run } of conformanceCases(target)) test(name, run);
}
`;
}

function embeddedTest({ name, title }: ProviderCard, file: string): string {
  const card = /^[a-z]+$/.test(name) ? `CATALOG.${name}` : `CATALOG["${name}"]`;
  return `/** ${title}. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { CATALOG } from "../../providers/catalog.ts";
import { openProvider } from "../../src/registry.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import "../../providers/${file}.ts";

const directory = await mkdtemp(join(tmpdir(), "elect-${name}-"));
after(() => rm(directory, { recursive: true, force: true }));

const url = ${card}.sample.replace("/var/lib/app", directory);
const target = { name: "${name}", open: () => openProvider(url) };
for (const { name, run } of conformanceCases(target)) test(name, run);
`;
}

function mutants({ title }: ProviderCard): string {
  return `/** Defects of the provider of ${title}. */

import type { ProviderMutant } from "../provider_mutant.ts";

export const MUTANTS: readonly ProviderMutant[] = [];
`;
}

function bench({ title }: ProviderCard, file: string): string {
  return `/** ${title} beside a look of its own, until somebody writes the bare calls of its driver. */

import { openProvider } from "../../src/registry.ts";
import { type BenchBackend, unbounded } from "../backend.ts";
import "../../providers/${file}.ts";

/** Opens the provider. */
export async function open(url: string): Promise<BenchBackend> {
  const provider = await openProvider(url);
  const look = () => provider.read("bare", unbounded);
  return {
    provider,
    bare: { acquireWon: look, acquireLost: look, heartbeat: look, release: look },
    heartbeatTimeout: 15_000,
    async close() {
      await provider[Symbol.asyncDispose]();
    },
  };
}
`;
}

function page({ title, sample, module }: ProviderCard): string {
  return `# ${title}

\`\`\`ts ignore
import { elect } from "@multilock/core";
import "@multilock/core/${module}";

await using election = await elect("${sample}", { electionGroup: "billing" });
\`\`\`
`;
}
