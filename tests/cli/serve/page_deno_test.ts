/** The page of `elect serve`: what it is made of, and what it shows of a failover, in a browser. */

import assert from "node:assert/strict";
import axe from "axe-core";
import type { Page } from "playwright-core";
import { PAGE } from "../../../cli/serve/page.ts";
import { buildPage } from "../../../page/build.ts";
import { startChromium } from "../../servers/chromium.ts";
import { redisServer } from "../../servers/redis.ts";
import { eventually } from "../elect.ts";
import { startServing, TOKEN, toolsOr } from "./served.ts";

const root = new URL("../../../", import.meta.url);
/** Where to put pictures for the documentation; nowhere in the gate. */
const pictures = Deno.env.get("ELECT_PICTURES");

Deno.test("the page is as deno task page makes it, of sources that are checked", async () => {
  const path = new URL("cli/serve/page.ts", root);
  assert.equal(await Deno.readTextFile(path), await buildPage(), "run deno task page");
  for (const args of [["check"], ["lint"], ["fmt", "--check"]]) {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...args, "--config", "page/deno.json", "page/main.ts"],
      cwd: root,
      env: { NO_COLOR: "1" },
    }).output();
    assert.ok(success, new TextDecoder().decode(stderr));
  }
});

Deno.test("the page is one file, and names no other host", () => {
  assert.doesNotMatch(PAGE, /\b(src|href)="(?!\/|#|data:)|url\(|@import|https?:/);
  assert.doesNotMatch(PAGE, /innerHTML|insertAdjacentHTML|document\.write|\beval\b/);
});

Deno.test(
  { name: "the page shows a failover on Redis, to everybody", sanitizeOps: false, sanitizeResources: false },
  async () => {
    const tools = await toolsOr(async () => {
      await redisServer.install();
      return { redis: await redisServer.start(), browser: await startChromium() };
    });
    if (tools === null) return;
    const { redis, browser } = tools;
    try {
      const groups = ["nightly-report", "billing", "--heartbeat-timeout", "4s"];
      const env = { ELECT_PROVIDER: redis.url };
      await using first = await startServing([...groups, "--id", "web-1", "--metadata", "say=<b>hi</b>"], { env });
      await eventually(async () => (await fetch(`${first.url}/leaderz`)).ok, "a leader");
      await using second = await startServing([...groups, "--id", "web-2"], { env });
      const page = await browser.newPage({ viewport: { width: 1180, height: 640 } });
      const strangers: string[] = [];
      const said: string[] = [];
      page.on("request", (request) => {
        if (!request.url().startsWith(second.url) && !request.url().startsWith("data:")) strangers.push(request.url());
      });
      page.on("console", (message) => said.push(message.text()));
      page.on("pageerror", (error) => said.push(String(error)));
      await page.goto(`${second.url}/`);
      const text = (selector: string) => page.locator(selector).first().textContent();
      await eventually(async () => await text(".leader") === "web-1", "the leader on the page");
      assert.match(await text(".facts") ?? "", /token \d+.*this process follows/);

      // It drains and refills: each heartbeat lets it rise.
      const widths: number[] = [];
      await eventually(async () => {
        const { transform } = await page.locator(".fill").first().evaluate((element) => ({
          transform: (element as unknown as { style: { transform: string } }).style.transform,
        }));
        const width = Number(/scaleX\(([\d.]+)\)/.exec(transform)?.[1]);
        if (width !== widths.at(-1)) widths.push(width);
        const rises = widths.filter((each, at) => each > (widths[at - 1] ?? Infinity)).length;
        return rises >= 2 && widths.length - rises >= 4;
      }, () => `a bar that drains and refills: ${widths}`);

      const told = { method: "POST", headers: { authorization: `Bearer ${TOKEN}` }, body: '{"cooldown":"2s"}' };
      await fetch(`${first.url}/v1/elections/billing/release`, told);
      await eventually(async () => await page.locator(".leader").nth(1).textContent() === "web-2", "the new leader");
      await picture(page, "page-light.png");
      first.process.kill("SIGKILL");
      await eventually(async () => await text(".leader") === "web-2", "the new leader on the page");
      await eventually(async () => /this process leads/.test(await text(".facts") ?? ""), "that it leads");
      assert.match(await text("#announcement") ?? "", /^web-2 leads nightly-report under token \d+$/);
      const rows = await page.locator("section").first().locator("tbody tr").allTextContents();
      assert.equal(rows.length, 2);
      assert.match(rows[0] ?? "", /^web-2leads now/);
      assert.match(rows[1] ?? "", /^web-1expired/);

      // Whoever reads a table, or has selected part of it, keeps it while time passes and heartbeats come.
      await page.evaluate("document.querySelector('tbody tr').dataset.kept = 'yes'");
      const passed = await page.evaluate("performance.now()") as number;
      await eventually(
        async () => await page.evaluate("performance.now()") as number > passed + 3_000,
        "three seconds",
      );
      assert.equal(await page.evaluate("document.querySelector('tbody tr').dataset.kept"), "yes");

      for (const colorScheme of ["light", "dark"] as const) {
        for (const width of [1180, 360]) {
          await page.emulateMedia({ colorScheme });
          await page.setViewportSize({ width, height: 780 });
          assert.deepEqual(await complaints(page), [], `${colorScheme}, ${width} wide`);
          const scrolls = await page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth",
          );
          assert.equal(scrolls, 0, "nobody scrolls a page sideways");
          if (colorScheme === "dark") await picture(page, width > 1_000 ? "page-dark.png" : "page-phone.png");
        }
      }
      await page.keyboard.press("Tab");
      assert.equal(await page.evaluate("document.activeElement.textContent"), "Skip to the elections");
      await page.keyboard.press("Tab");
      assert.equal(await page.evaluate("document.activeElement.getAttribute('aria-label')"), "Terms of nightly-report");

      second.process.kill("SIGTERM");
      await second.process.finished();
      await eventually(
        async () => /connection lost/.test(await text("#connection") ?? ""),
        "that the connection is lost",
      );
      assert.deepEqual(strangers, []);
      assert.deepEqual(said.filter((each) => !/ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING)/.test(each)), []);
    } finally {
      await browser.close();
      await redis.stop();
    }
  },
);

/** What axe finds wrong for those who cannot see it, or not well. */
async function complaints(page: Page): Promise<string[]> {
  // As a function of the debugger's, which the page's policy does not bind.
  const found = await page.evaluate(`${axe.source}; axe.run()`) as axe.AxeResults;
  return found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

async function picture(page: Page, name: string): Promise<void> {
  if (pictures !== undefined) await page.screenshot({ path: `${pictures}/${name}`, fullPage: true });
}
