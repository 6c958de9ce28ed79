/** Defects of the Azure Blob Storage provider. */

import type { MutantTest, ProviderMutant } from "../provider_mutant.ts";

const [MAIN, FAULTS] = ["tests/providers/azure_blob_test.ts", "tests/providers/azure_blob_faults_test.ts"];

/** The first four were found to survive once. */
export const MUTANTS: readonly ProviderMutant[] = [
  mutant(
    "a lease of 15.9 s is taken for 15 s",
    "azure_blob/group_blob.ts",
    [
      "return Math.ceil(heartbeatTimeout / 1_000);",
      "return Math.floor(heartbeatTimeout / 1_000);",
    ],
    FAULTS,
    "at least as long as it was asked for",
  ),
  mutant(
    "the driver sends a write again by itself",
    "azure_blob/client.ts",
    [
      "{ retryOptions: { maxTries: 1 } }",
      "{}",
    ],
    FAULTS,
    "a write is sent once",
  ),
  mutant(
    "a lease that is breaking is an error",
    "azure_blob/client.ts",
    [
      '["LeaseAlreadyPresent", "LeaseIsBreakingAndCannotBeAcquired"]',
      '["LeaseAlreadyPresent"]',
    ],
    FAULTS,
    "a lease that is breaking",
  ),
  mutant(
    "a heartbeat with metadata that finds another's record counts as a success",
    "azure_blob.ts",
    [
      'look.record.termId !== termId)) return "lost";',
      'look.record.termId !== termId)) return "renewed";',
    ],
    FAULTS,
    "finds another's record",
  ),
  mutant(
    "a lease is rounded to whole seconds",
    "azure_blob/group_blob.ts",
    [
      "return Math.ceil(heartbeatTimeout / 1_000);",
      "return Math.round(heartbeatTimeout / 1_000);",
    ],
    FAULTS,
    "at least as long as it was asked for",
  ),
  mutant(
    "Deno sends a write again whose kept connection ends",
    "kit/http_agent.ts",
    [
      "request.reusedSocket = false;",
      "",
    ],
    FAULTS,
    "a write is sent once",
  ),
  mutant(
    "a client that sends again by itself is accepted",
    "azure_blob.ts",
    [
      "if (retries(client)) throw",
      "if (false) throw",
    ],
    MAIN,
    "refuses a client that sends",
  ),
  mutant(
    "a lease that is broken cannot be renewed, which is an error",
    "azure_blob/client.ts",
    [
      '  "LeaseIsBrokenAndCannotBeRenewed",\n',
      "",
    ],
    FAULTS,
    "a lease that is breaking",
  ),
  mutant(
    "a record is written over another claim's",
    "azure_blob/group_blob.ts",
    [
      "const conditions = { leaseId: record.termId, ifMatch };",
      'const conditions = { leaseId: record.termId, ...(ifMatch === "" && { ifMatch }) };',
    ],
    MAIN,
    "a claim that is written late",
  ),
  mutant(
    "a token is the time, also twice within a second",
    "azure_blob/claim.ts",
    [
      "look.token < now ? now : look.token + 1n",
      "now",
    ],
    FAULTS,
    "is free, and its tokens grow",
  ),
  mutant(
    "a token is one more than the last, also when that is gone",
    "azure_blob/claim.ts",
    [
      "look.token < now ? now : look.token + 1n",
      "look.token + 1n",
    ],
    MAIN,
    "makes the container once",
  ),
  mutant(
    "the token of a record counts only where the metadata has one",
    "azure_blob/group_blob.ts",
    [
      "record?.token ?? 0n]",
      "0n]",
    ],
    FAULTS,
    "is free, and its tokens grow",
  ),
  mutant(
    "a record with any id of a term is taken for one",
    "azure_blob/group_blob.ts",
    [
      "/^[0-9a-f-]{36}$/i.test(termId)",
      "true",
    ],
    FAULTS,
    "whose record was overwritten",
  ),
  mutant(
    "a record that is no JSON is an error",
    "azure_blob/group_blob.ts",
    [
      "  } catch {\n    return {};",
      "  } catch (error) {\n    throw error;",
    ],
    FAULTS,
    "is free, and its tokens grow",
  ),
  mutant(
    "a blob with somebody's data is written over",
    "azure_blob/group_blob.ts",
    [
      'if (marked === undefined && record === null && text !== "") {',
      "if (false) {",
    ],
    MAIN,
    "a blob that is none of ours",
  ),
  mutant(
    "a record that was overwritten is never mended",
    "azure_blob.ts",
    [
      "(look.record === null ? look.token > token :",
      "(look.record === null ? true :",
    ],
    FAULTS,
    "whose record was overwritten",
  ),
  mutant(
    "a later term's token is written over",
    "azure_blob.ts",
    [
      "(look.record === null ? look.token > token :",
      "(look.record === null ? false :",
    ],
    FAULTS,
    "finds another's record",
  ),
  mutant(
    "metadata that Azure refuses costs the renewal",
    "azure_blob.ts",
    [
      "if (!isRefused(error)) throw error;",
      "throw error;",
    ],
    FAULTS,
    "metadata that Azure refuses",
  ),
  mutant(
    "metadata that could not be written now is left out",
    "azure_blob/client.ts",
    [
      "statusCode >= 400 && statusCode < 500 &&",
      "statusCode >= 400 &&",
    ],
    FAULTS,
    "metadata that Azure refuses",
  ),
  mutant(
    "renewals of one lease conflict with each other",
    "azure_blob.ts",
    [
      "this.#renewals.run(lease.termId, options, (together) => this.#renewOnce(lease, together))",
      "this.#renewOnce(lease, options)",
    ],
    FAULTS,
    "fifty renewals",
  ),
  mutant(
    "whoever is in the record leads, if anybody has the lease",
    "azure_blob/group_blob.ts",
    [
      "if (!look?.isHeld || look.record === null) return look;",
      "if (look !== null) return look;",
    ],
    MAIN,
    "a claim that was not written",
  ),
  mutant(
    "a term that was given back resumes what has ended",
    "azure_blob/claim.ts",
    [
      "await blob.clear(seen);",
      "",
    ],
    MAIN,
    "that is cut off, of a term that was released",
  ),
  mutant(
    "a provider that is closed leaves its connections open",
    "azure_blob/client.ts",
    [
      "close: () => connections.close() };",
      "close() {} };",
    ],
    FAULTS,
    "leaves no connection behind",
  ),
  mutant(
    "any URL of the web is taken for one of Azure's",
    "catalog.ts",
    [
      'protocols: ["azblob:"],',
      'protocols: ["azblob:", "https:", "http:"],',
    ],
    MAIN,
    "leaves the rest of the web alone",
  ),
  mutant(
    "a claim whose lease was released meanwhile is made anew",
    "azure_blob/claim.ts",
    [
      'return await blob.renew(termId) === null ? "ended" : "changed";',
      'return "changed";',
    ],
    MAIN,
    "may overlap, and what is released stays free",
  ),
  mutant(
    "a host that only begins like Azure's is taken for one",
    "catalog.ts",
    [
      "devstoreaccount1)([/?]|$)`",
      "devstoreaccount1)`",
    ],
    MAIN,
    "leaves the rest of the web alone",
  ),
  mutant(
    "a plus sign in a key is read as a blank",
    "azure_blob/target.ts",
    [
      'inQuery?.replaceAll(" ", "+") ??',
      "inQuery ??",
    ],
    MAIN,
    "names the nearest",
  ),
  mutant(
    "a misspelt part of a connection string is accepted",
    "azure_blob/target.ts",
    [
      'refuseUnknown("azure-blob setting", [spelt], known);',
      "",
    ],
    MAIN,
    "names the nearest",
  ),
  mutant(
    "a lease that was given back is looked for before the next claim",
    "azure_blob.ts",
    [
      "if (known?.record?.termId === termId) blob.remember({ ...known, isHeld: false });",
      "void known;",
    ],
    MAIN,
    "takes as few calls as it says",
  ),
];

function mutant(
  name: string,
  file: string,
  [find, replace]: readonly [string, string],
  testFile: string,
  filter: string,
): ProviderMutant {
  const test: MutantTest = { file: testFile, filter };
  return { name, file: `providers/${file}`, find, replace, test };
}
