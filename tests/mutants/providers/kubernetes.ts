/** Defects of the Kubernetes provider. */

import type { MutantTest, ProviderMutant } from "../provider_mutant.ts";

const TESTS = "tests/providers/kubernetes";
const MAIN = `${TESTS}_test.ts`;

export const MUTANTS: readonly ProviderMutant[] = [
  mutant(
    "a take-over is not conditional on what was seen",
    "lease_object.ts",
    [
      "...(isNew ? { name: nameOf(electionGroup) } : { resourceVersion: state.version }),",
      "name: nameOf(electionGroup),",
    ],
    MAIN,
    "take-over was decided",
  ),
  mutant(
    "a heartbeat is not conditional on what was seen",
    "lease_object.ts",
    [
      "metadata: { resourceVersion: version, annotations }, spec: { renewTime: time }",
      "metadata: { annotations }, spec: { renewTime: time }",
    ],
    MAIN,
    "renew() is lost, when it arrives",
  ),
  mutant(
    "a release is not conditional on what was seen",
    "lease_object.ts",
    ["metadata: { resourceVersion: state.version, annotations },", "metadata: { annotations },"],
    MAIN,
    "release() that arrives after",
  ),
];

function mutant(
  name: string,
  file: string,
  [find, replace]: readonly [string, string],
  testFile: string,
  filter?: string,
): ProviderMutant {
  const test: MutantTest = { file: testFile, ...(filter !== undefined && { filter }) };
  const path = file === "kubernetes.ts" || file.startsWith("kit/") ? file : `kubernetes/${file}`;
  return { name, file: `providers/${path}`, find, replace, test };
}
