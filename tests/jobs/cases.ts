/** Jobs on three hosts, whose clocks agree or do not, on a backend that all of them reach. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { clockAhead } from "../servers/stepped_clock.ts";
import { patience } from "../slowness.ts";

const HOST = fileURLToPath(new URL("host.ts", import.meta.url));
/** By how much the clocks of the hosts differ, and for how long the lease is kept, therefore. */
const APART_S = [-1, 0, 1];
const AT_LEAST_MS = 8_000;

/** One case. */
export interface JobCase {
  readonly name: string;
  run(): Promise<void>;
}

/** Returns the cases on the backend at `url`. `carriesTransfers`: whether it tells for whom a lease was released. */
export function jobCases(name: string, url: string, carriesTransfers: boolean): JobCase[] {
  const cases = [
    { name: `${name}: three hosts that start at once run the job once`, run: () => runsOnce(url, [0, 0, 0]) },
    {
      name: `${name}: three hosts whose clocks are a second apart run the job once`,
      run: () => runsOnce(url, APART_S),
    },
  ];
  if (!carriesTransfers) return cases;
  return [...cases, { name: `${name}: a leader hands over to the host that it names`, run: () => handsOver(url) }];
}

let count = 0;

function fresh(what: string): string {
  return `${what}-${Date.now()}-${count++}`;
}

async function runsOnce(url: string, clocks: readonly number[]): Promise<void> {
  const group = fresh("job");
  const hosts: Host[] = [];
  try {
    for (const ahead of clocks) hosts.push(await Host.start(["job", url, group, String(AT_LEAST_MS)], ahead));
    for (const host of hosts) await host.said(/^ready$/m);
    // The same time of day on each clock, as in three crontabs.
    const at = Date.now() + 2_000;
    for (const host of hosts) host.tell(String(at));
    const ends = await Promise.all(hosts.map((host) => host.said(/^(done|held|lost)$/m)));
    assert.deepEqual(ends.map(([end]) => end).sort(), ["done", "held", "held"]);
    assert.equal(hosts.filter(({ output }) => /^ran \d+$/m.test(output)).length, 1);
  } finally {
    for (const host of hosts) await host.end();
  }
}

async function handsOver(url: string): Promise<void> {
  const group = fresh("transfer");
  const hosts: Record<string, Host> = {};
  try {
    for (const name of ["a", "b", "c"]) {
      const host = hosts[name] = await Host.start(["lead", url, group, name], 0);
      await host.said(name === "a" ? /^leads a$/m : /^follows/m);
    }
    // Followers hear of a release once they watch.
    await new Promise((resolve) => setTimeout(resolve, patience(1_000)));
    hosts.a?.tell("c");
    await hosts.c?.said(/^leads c$/m);
    await hosts.a?.said(/^handed over$/m);
    assert.doesNotMatch(hosts.b?.output ?? "", /^leads/m);
    await new Promise((resolve) => setTimeout(resolve, patience(1_000)));
    hosts.c?.tell("b");
    await hosts.b?.said(/^leads b$/m);
    assert.equal(hosts.a?.output.match(/^leads/gm)?.length, 1);
  } finally {
    for (const host of Object.values(hosts)) await host.end();
  }
}

/** A process of `host.ts`. */
class Host {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  readonly #read: Promise<unknown>;
  output = "";

  private constructor(args: readonly string[], env: Record<string, string>) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--allow-all", "--no-check", HOST, ...args],
      env: { NO_COLOR: "1", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#read = Promise.all([this.#child.stdout, this.#child.stderr].map(async (stream) => {
      for await (const text of stream.pipeThrough(new TextDecoderStream())) this.output += text;
    }));
  }

  static async start(args: readonly string[], ahead: number): Promise<Host> {
    return new Host(args, ahead === 0 ? {} : await clockAhead(ahead));
  }

  tell(text: string): void {
    this.#input.write(new TextEncoder().encode(`${text}\n`)).catch(() => {});
  }

  async said(pattern: RegExp): Promise<RegExpExecArray> {
    for (const end = Date.now() + patience(60_000); Date.now() < end;) {
      const match = pattern.exec(this.output);
      if (match !== null) return match;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`Waited in vain for ${pattern}; it said: ${this.output}`);
  }

  async end(): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.#input.close().catch(() => {});
    await this.#child.status;
    await this.#read;
  }
}
