/** The Azure Blob Storage provider with an account of its own, and in processes that end. */

import assert from "node:assert/strict";
import { azureBlobProvider } from "../../providers/azure_blob.ts";
import { azuriteServer, startAzurite } from "../servers/azurite.ts";

/** Where Azurite cannot be had there are no tests; `tests/run.ts` names the backend as skipped. */
const isThere = await azuriteServer.install().then(() => true, () => false);

const soon = () => ({ signal: AbortSignal.timeout(20_000) });

if (isThere) {
  Deno.test("an account other than the emulator's works, with its key and with no other", async () => {
    const account = { name: "multilock", key: btoa("a key that nobody else knows") };
    const server = await startAzurite({ account });
    try {
      await using provider = azureBlobProvider({ url: server.url });
      const wanted = { electionGroup: "group", participantId: "p", termId: crypto.randomUUID(), metadata: {} };
      const answer = await provider.acquire({ ...wanted, heartbeatTimeout: 15_000 }, soon());
      assert.ok(answer.acquired);
      assert.equal(await provider.renew(answer.lease, soon()), "renewed");
      await using stranger = azureBlobProvider({ url: server.url, accountKey: btoa("guessed") });
      await assert.rejects(stranger.read("group", soon()), (error) => {
        assert.ok(error instanceof Error && /Auth/.test(error.message));
        assert.ok(!error.message.includes(account.key) && !error.message.includes(encodeURIComponent(account.key)));
        return true;
      });
    } finally {
      await server.stop();
    }
  });

  Deno.test("a process ends by itself, after a call that was answered and one that hung", async () => {
    const server = await startAzurite();
    const script = await Deno.makeTempFile({ suffix: ".ts" });
    const module = JSON.stringify(import.meta.resolve("../../providers/azure_blob.ts"));
    await Deno.writeTextFile(
      script,
      `import { azureBlobProvider } from ${module};
      const provider = azureBlobProvider({ url: ${JSON.stringify(server.url)} });
      await provider.healthCheck({ signal: AbortSignal.timeout(20_000) });
      console.log("answered");
      await Deno.stdin.read(new Uint8Array(1));
      await provider.healthCheck({ signal: AbortSignal.timeout(300) }).catch(() => console.log("hung"));
      await provider[Symbol.asyncDispose]();`,
    );
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", `--config=${config}`, script],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    try {
      const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
      assert.equal((await output.read()).value, "answered\n");
      await server.freeze();
      const input = child.stdin.getWriter();
      await input.write(new Uint8Array([10]));
      await input.close();
      assert.equal((await output.read()).value, "hung\n");
      const start = performance.now();
      assert.ok((await child.status).success);
      assert.ok(performance.now() - start < 10_000, `it went on for ${performance.now() - start} ms`);
      await output.cancel();
    } finally {
      await server.thaw();
      await server.stop();
      await Deno.remove(script);
    }
  });
}
