/** One participant of a chaos run: an `elect run` process that is started again whenever it ends. */

import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { sleep, systemClock } from "../../src/time/clock.ts";
import type { Proxy } from "./proxy.ts";

const CLI = fileURLToPath(new URL("../../cli.ts", import.meta.url));
const WORKER = fileURLToPath(new URL("worker.ts", import.meta.url));
const RESTART_MS = 100;

/** What all participants of a run share. */
export interface Contest {
  readonly group: string;
  readonly witness: string;
  readonly heartbeatTimeout: number;
  readonly heartbeatInterval: number;
}

/** One participant. */
export class Contestant {
  readonly id: string;
  /** Since when nothing ails it or its way to the server; null while something does. */
  healthySince: number | null = null;
  readonly proxy: Proxy | null;
  /** How its process ended, and how often. */
  readonly exits = new Map<string, number>();
  readonly #url: string;
  readonly #contest: Contest;
  #process: ChildProcess | null = null;
  #ended: Promise<void> = Promise.resolve();
  #running = false;
  #retired = false;

  /** Makes a participant that reaches its server by `url`, through `proxy` if there is one. */
  constructor(id: string, url: string, proxy: Proxy | null, contest: Contest) {
    this.id = id;
    this.proxy = proxy;
    this.#url = url;
    this.#contest = contest;
    this.#start();
  }

  /** Sends a signal to `elect` itself: not to its guard, nor to its command. */
  signal(signal: NodeJS.Signals): void {
    // Not by the method of the child process, which in Deno sends no second signal after the first.
    if (!this.#running) return;
    try {
      process.kill(this.#process?.pid ?? 0, signal);
    } catch (error) {
      // It has ended, and nobody has told yet.
      if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
    }
  }

  /** Ends it for good. */
  async retire(): Promise<void> {
    this.#retired = true;
    this.signal("SIGCONT");
    this.signal("SIGTERM");
    const over = new AbortController();
    const patience = sleep(systemClock, 20_000, over.signal).then(() => this.signal("SIGKILL"), () => {});
    await this.#ended;
    over.abort();
    await patience;
    this.proxy?.close();
  }

  #start(): void {
    const { group, witness, heartbeatInterval, heartbeatTimeout } = this.#contest;
    const timing = ["--heartbeat-interval", `${heartbeatInterval}ms`, "--heartbeat-timeout", `${heartbeatTimeout}ms`];
    const child = this.#process = spawn(
      Deno.execPath(),
      [
        ...["run", "-A", CLI, "run", group, "--repeat", "--id", this.id, ...timing],
        ...["--log-level", "error", "--", Deno.execPath(), "run", "-A", WORKER],
      ],
      {
        stdio: ["ignore", "ignore", Deno.env.get("CHAOS_VERBOSE") ? "inherit" : "ignore"],
        env: { ...Deno.env.toObject(), ELECT_PROVIDER: this.#url, CHAOS_WITNESS: witness },
      },
    );
    this.#running = true;
    this.healthySince = systemClock.monotonic();
    this.#ended = new Promise((resolve) => {
      child.once("exit", async (code, signal) => {
        const how = String(signal ?? code);
        this.exits.set(how, (this.exits.get(how) ?? 0) + 1);
        this.healthySince = null;
        this.#running = false;
        if (!this.#retired) await sleep(systemClock, RESTART_MS);
        if (!this.#retired) this.#start();
        resolve();
      });
    });
  }
}
