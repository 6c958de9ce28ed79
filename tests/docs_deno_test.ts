/** Every code block of the documentation runs, every link leads somewhere, and the pictures are what draws them. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../", import.meta.url);
const pages = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", ...await pagesIn("docs/")];

Deno.test("code blocks of the documentation run", async () => {
  // Not checked, since Deno adds imports to the blocks that they do not use.
  const args = ["test", "--allow-all", "--no-check", "--doc", ...pages];
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: fileURLToPath(ROOT),
    env: { NO_COLOR: "1" },
  }).output();
  const output = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  assert.ok(success, output);
  const [, passed = "0"] = /(\d+) passed/.exec(output) ?? [];
  assert.ok(Number(passed) >= 8, output);
});

for (const page of pages) {
  Deno.test(`links of ${page} lead somewhere`, async () => {
    const text = withoutCode(await read(page));
    const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g), ...text.matchAll(/(?:src|srcset|href)="([^"]+)"/g)];
    for (const [, target = ""] of targets) {
      if (/^(https?|mailto):/.test(target)) continue;
      const [path = "", anchor] = target.split("#");
      const url = path === "" ? new URL(page, ROOT) : new URL(path, new URL(page, ROOT));
      assert.ok(await exists(url), `${page} links to ${target}, which is not there`);
      if (anchor === undefined) continue;
      const anchors = [...(await Deno.readTextFile(url)).matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) => slug(title));
      assert.ok(anchors.includes(anchor), `${page} links to ${target}, which has no such heading`);
    }
  });
}

Deno.test("pictures are as docs/pictures/draw.ts draws them", async () => {
  const names = ["term-light", "term-dark", "failover-light", "failover-dark"].map((name) =>
    `docs/pictures/${name}.svg`
  );
  const directory = await Deno.makeTempDir({ prefix: "elect-pictures-" });
  try {
    await Deno.copyFile(new URL("docs/pictures/draw.ts", ROOT), `${directory}/draw.ts`);
    const { success } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "--allow-write", "--allow-read", "--no-config", `${directory}/draw.ts`],
    }).output();
    assert.ok(success);
    for (const name of names) {
      assert.equal(await read(name), await Deno.readTextFile(`${directory}/${name.split("/").at(-1)}`), name);
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

async function pagesIn(directory: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(new URL(directory, ROOT))) {
    if (isDirectory) found.push(...await pagesIn(`${directory}${name}/`));
    else if (name.endsWith(".md")) found.push(`${directory}${name}`);
  }
  return found.sort();
}

function read(path: string): Promise<string> {
  return Deno.readTextFile(new URL(path, ROOT));
}

function exists(url: URL): Promise<boolean> {
  return Deno.stat(url).then(() => true, () => false);
}

function withoutCode(text: string): string {
  return text.replace(/^```[\s\S]*?^```/gm, "").replace(/`[^`\n]*`/g, "");
}

/** The anchor that a heading gets. */
function slug(title: string): string {
  return title.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").trim().replaceAll(" ", "-");
}
