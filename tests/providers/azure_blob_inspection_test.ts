/** What the provider says of its account: of Azurite's, and of accounts of each kind of replication. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { azureBlobProvider } from "../../providers/azure_blob.ts";
import { inspectAccount } from "../../providers/azure_blob/inspection.ts";
import { backend } from "../servers/backend.ts";
import { isOfThisHost, soon } from "./asking.ts";

const server = backend("azure-blob");
if (server !== null) {
  test("inspect() tells how the account is replicated, and the time of the service", async () => {
    await using provider = azureBlobProvider({ url: server.url });
    assert.ok(provider.inspect);
    const { version, findings, clockOffsetMs } = await provider.inspect(soon());
    assert.equal(version, null);
    assert.deepEqual(findings.map(({ about }) => about), ["redundancy"]);
    for (const { level, text, remedy } of findings) assert.ok(text !== "" && (level === "ok" || remedy), text);
    isOfThisHost(clockOffsetMs);
  });
}

test("inspect() warns of accounts that replicate between regions, and of those that may not be asked", async () => {
  const levelOf = async (skuName: string | undefined) => {
    const { findings } = await inspectAccount({
      getAccountInfo: () => Promise.resolve({ ...(skuName !== undefined && { skuName }) }),
    }, soon().signal);
    const [finding] = findings;
    assert.ok(finding && (finding.level === "ok" || finding.remedy));
    return finding.level;
  };
  for (const sku of ["Standard_LRS", "Standard_ZRS", "Premium_LRS", "Premium_ZRS"]) {
    assert.equal(await levelOf(sku), "ok", sku);
  }
  for (const sku of ["Standard_GRS", "Standard_RAGRS", "Standard_GZRS", "Standard_RAGZRS", undefined]) {
    assert.equal(await levelOf(sku), "warning", String(sku));
  }
  const refused = () => Promise.reject(new Error("AuthorizationPermissionMismatch"));
  for (const container of [{}, { getAccountInfo: refused }]) {
    const { findings, clockOffsetMs } = await inspectAccount(container, soon().signal);
    assert.match(findings[0]?.text ?? "", /^unknown/);
    assert.equal(clockOffsetMs, null);
  }
});
