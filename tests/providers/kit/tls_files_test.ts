import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { readTlsFiles } from "../../../providers/kit/tls_files.ts";

test("readTlsFiles() reads what is named, each time anew, and names what it cannot read", async () => {
  const directory = await mkdtemp(join(tmpdir(), "elect-tls-"));
  try {
    const ca = join(directory, "ca.pem");
    await writeFile(ca, "first");
    assert.deepEqual(await readTlsFiles({ ca, servername: "h" }), { ca: "first", servername: "h" });
    await writeFile(ca, "second");
    assert.deepEqual(await readTlsFiles({ ca }), { ca: "second" });
    await assert.rejects(readTlsFiles({ ca: join(directory, "none.pem") }), /setting "ca".*none\.pem/);
    await assert.rejects(readTlsFiles({ cert: ca }), /cert and key must be given together/);
    assert.deepEqual(await readTlsFiles({}), {});
  } finally {
    await rm(directory, { recursive: true });
  }
});
