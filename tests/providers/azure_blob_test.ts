import { test } from "node:test";
import { azureBlobProvider } from "../../providers/azure_blob.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { backend } from "../servers/backend.ts";

const azure = backend("azure-blob");

if (azure !== null) {
  const open = () => azureBlobProvider({ url: azure.url });
  for (const { name, run } of conformanceCases({ name: "azure-blob", open, faults: azure.faults })) test(name, run);
}
