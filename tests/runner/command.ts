/** Runs programs for the test driver: with a time limit, their output kept for the case that they fail. */

import { patience, slowness } from "../slowness.ts";

/** What became of a program. */
export interface Outcome {
  /** Whether it ended by itself, with exit code 0. */
  readonly ok: boolean;
  /** Whether it was ended because its time was over. */
  readonly late: boolean;
  /** What it printed, both streams, in order; and why it was ended, if it was. */
  readonly output: string;
}

/** What to run. */
export interface CommandSpec {
  /** Program and arguments. */
  readonly argv: readonly string[];
  /** Where to run it. @default the checkout */
  readonly cwd?: string | URL;
  /** Variables beside those of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** How long it may take on an idle machine, in milliseconds. @default ten minutes */
  readonly limitMs?: number;
}

/** The variable by which a program's descendants are known, and those of this process. */
const MARK = "ELECT_TEST_RUN";
const OWN_MARK = `${Deno.env.get(MARK) ?? ""}${crypto.randomUUID()}:`;
Deno.env.set(MARK, OWN_MARK);
/** How often the time that a program has had is counted, in milliseconds. */
const COUNT_MS = 1_000;

/** The checkout. */
export const ROOT: URL = new URL("../../", import.meta.url);

const running = new Set<Deno.ChildProcess>();
let isEnding = false;

/** Runs a program to its end, or to the end of its time. */
export async function execute(
  { argv: [program = "", ...args], cwd = ROOT, env, limitMs = 600_000 }: CommandSpec,
): Promise<Outcome> {
  if (isEnding) return { ok: false, late: false, output: "Nothing is begun any more" };
  const mark = OWN_MARK + crypto.randomUUID();
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(program, {
      args,
      cwd,
      env: { NO_COLOR: "1", ...env, [MARK]: mark },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  } catch (error) {
    return { ok: false, late: false, output: `Cannot run "${program}": ${error}` };
  }
  running.add(child);
  const chunks: string[] = [];
  const read = [child.stdout, child.stderr].map((stream) => collect(stream, chunks));
  // How slow the machine is changes while a program runs: each second counts for as much as it was worth.
  const start = performance.now();
  let [late, spentMs, countedAt] = [false, 0, start];
  const limit = setInterval(() => {
    const now = performance.now();
    spentMs += (now - countedAt) / slowness();
    countedAt = now;
    if (spentMs < limitMs || late) return;
    late = true;
    end(child);
  }, COUNT_MS);
  const { success } = await child.status;
  clearInterval(limit);
  running.delete(child);
  await endMarked(mark);
  // A grandchild that inherited the pipes may keep them open; what it prints now is of no interest.
  await Promise.race([Promise.all(read), new Promise((resolve) => setTimeout(resolve, 2_000))]);
  if (late) chunks.push(`\nended after ${Math.round((performance.now() - start) / 1_000)} s\n`);
  return { ok: success && !late, late, output: chunks.join("") };
}

/**
 * Ends what a program has left behind, such as the servers of a test that threw where nobody caught it. A process that
 * lost its parents still carries the variable that they were given.
 */
async function endMarked(mark: string): Promise<void> {
  const entries = await Array.fromAsync(Deno.readDir("/proc")).catch(() => []);
  await Promise.all(
    entries.filter(({ name }) => /^\d+$/.test(name)).map(async ({ name }) => {
      const variables = await Deno.readTextFile(`/proc/${name}/environ`).catch(() => "");
      if (!variables.includes(`${MARK}=${mark}`)) return;
      try {
        Deno.kill(Number(name), "SIGKILL");
      } catch {
        // It is gone already.
      }
    }),
  );
}

/** Ends whatever runs, has `stop` end what is stopped in order, and then ends what is left of all this has begun. */
export async function endAll(stop: () => Promise<void>): Promise<void> {
  isEnding = true;
  for (const child of running) end(child);
  while (running.size > 0) await new Promise((resolve) => setTimeout(resolve, 50));
  await stop();
  await endMarked(OWN_MARK);
}

/** SIGTERM first, so that a test runner can end the processes of its own. */
function end(child: Deno.ChildProcess): void {
  const send = (signal: Deno.Signal) => {
    try {
      child.kill(signal);
    } catch {
      // It is gone already.
    }
  };
  send("SIGTERM");
  setTimeout(() => running.has(child) && send("SIGKILL"), patience(3_000));
}

async function collect(stream: ReadableStream<Uint8Array>, chunks: string[]): Promise<void> {
  for await (const text of stream.pipeThrough(new TextDecoderStream())) chunks.push(text);
}
