/**
 * Server processes of the tests: on free ports, with temporary directories, reached by process id and ended for sure.
 */

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { constants, existsSync, openSync, readdirSync, readFileSync } from "node:fs";
import { access, chown, mkdtemp, readFile, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { patience } from "../slowness.ts";

/** How to run a server. */
export interface ProcessSpec {
  /** The program. */
  readonly command: string;
  /** Its arguments; the same at each start, so that a restart finds the same port and data. */
  readonly args: readonly string[];
  /** A directory for its log. */
  readonly directory: string;
  /** Variables beside those of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** The user to run it as, for programs that refuse root. */
  readonly user?: { readonly uid: number; readonly gid: number } | undefined;
  /** Resolves when the server answers, and rejects while it does not. Called until it resolves. */
  ready(): Promise<unknown>;
  /** How long to wait for that, in milliseconds. @default 60,000 */
  readonly readyTimeout?: number;
}

/** One server process and whatever it forked. */
export interface ServerProcess {
  /** Ends all of it with SIGKILL; returns when it is gone. */
  kill(): Promise<void>;
  /** Starts it again as before, ending what still runs; returns when it answers. */
  restart(): Promise<void>;
  /** Stops all of it with SIGSTOP. */
  freeze(): Promise<void>;
  /** Lets all of it go on. */
  thaw(): Promise<void>;
}

// A process that is told to end must end its servers, too, which its `exit` does. One that listens for itself sees to
// that.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    if (process.listenerCount(signal) === 1) process.exit(1);
  });
}

/** Starts a server and waits until it answers. */
export async function startProcess(spec: ProcessSpec): Promise<ServerProcess> {
  let running = launch(spec);
  // A server must not outlive the tests, also when they end in the middle.
  const endNow = () => running.signal("SIGKILL");
  process.on("exit", endNow);
  const server: ServerProcess = {
    async kill() {
      const killed = running.signal("SIGKILL");
      await running.exited;
      // On a busy machine its children take longer, and what they share with it stays in use.
      for (const end = Date.now() + patience(DYING_MS); killed.some(isRunning) && Date.now() < end;) await delay(10);
    },
    async restart() {
      await server.kill();
      running = launch(spec);
      await untilReady(spec, running);
    },
    freeze: () => Promise.resolve(void running.signal("SIGSTOP")),
    thaw: () => Promise.resolve(void running.signal("SIGCONT")),
  };
  try {
    await untilReady(spec, running);
  } catch (error) {
    await server.kill();
    throw error;
  }
  return server;
}

interface Running {
  readonly exited: Promise<void>;
  hasExited(): boolean;
  /** Sends a signal to all of it. Returns their process ids. */
  signal(signal: NodeJS.Signals): number[];
}

/** How long what was killed may take to be gone, in milliseconds. */
const DYING_MS = 10_000;

function launch({ command, args, directory, env, user }: ProcessSpec): Running {
  const log = openSync(join(directory, "server.log"), "a");
  const child = spawn(command, args, {
    cwd: directory,
    env: { ...process.env, ...env },
    // A process group of its own keeps the terminal's Ctrl-C away: the tests end their servers themselves.
    detached: true,
    stdio: ["ignore", log, log],
    ...user,
  });
  let hasExited = false;
  const exited = Promise.race([once(child, "exit"), once(child, "error")]).then(() => {
    hasExited = true;
  }, () => {
    hasExited = true;
  });
  return {
    exited,
    hasExited: () => hasExited,
    signal(signal) {
      if (child.pid === undefined || hasExited) return [];
      // Stopped first, the main process cannot fork or mourn children while they are looked for.
      send(child.pid, "SIGSTOP");
      const pids = [...descendants(child.pid), child.pid];
      for (const pid of pids) send(pid, signal);
      return pids;
    },
  };
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It is gone already.
  }
}

/** The processes that `root` started, and those that they started; PostgreSQL's each lead a group of their own. */
function descendants(root: number): number[] {
  if (!existsSync("/proc/self/stat")) return [];
  const children = new Map<number, number[]>();
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const { parent } = stateOf(Number(entry)) ?? {};
    if (parent !== undefined) children.set(parent, [...children.get(parent) ?? [], Number(entry)]);
  }
  const found: number[] = [];
  const open = [root];
  for (let pid = open.pop(); pid !== undefined; pid = open.pop()) {
    const next = children.get(pid) ?? [];
    found.push(...next);
    open.push(...next);
  }
  return found;
}

/** What /proc says of a process; null if there is no such process. */
function stateOf(pid: number): { readonly state: string; readonly parent: number } | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name, in parentheses, may hold spaces; state and parent follow it.
    const [state = "", parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { state, parent: Number(parent) };
  } catch {
    return null;
  }
}

/** Whether a process has not ended. One that nobody has mourned yet has. */
function isRunning(pid: number): boolean {
  return !["Z", "X", undefined].includes(stateOf(pid)?.state);
}

async function untilReady(spec: ProcessSpec, running: Running): Promise<void> {
  const deadline = AbortSignal.timeout(patience(spec.readyTimeout ?? 60_000));
  for (;;) {
    try {
      await spec.ready();
      return;
    } catch (error) {
      if (!running.hasExited() && !deadline.aborted) {
        await delay(50);
        continue;
      }
      const log = await readFile(join(spec.directory, "server.log"), "utf8").catch(() => "");
      const why = running.hasExited() ? "it ended" : `it does not answer: ${error}`;
      throw new Error(`Cannot start server "${spec.command}": ${why}\n${log.slice(-2_000)}`);
    }
  }
}

/** Returns a port of 127.0.0.1 that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Returns free ports of 127.0.0.1, no two the same. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = new Set<number>();
  while (ports.size < count) ports.add(await freePort());
  return [...ports];
}

/** Makes a temporary directory, owned by `user` if one is given. */
export async function temporaryDirectory(
  name: string,
  user?: { readonly uid: number; readonly gid: number },
): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), `elect-test-${name}-`));
  if (user) await chown(directory, user.uid, user.gid);
  return directory;
}

/** Removes a directory and everything in it. */
export function removeDirectory(directory: string): Promise<void> {
  return rm(directory, { recursive: true, force: true, maxRetries: 5 });
}

/** Resolves when 127.0.0.1:`port` accepts a connection, rejects when it does not within two seconds. */
export function connectable(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.setTimeout(patience(2_000), () => socket.destroy(new Error("no connection in time")));
    socket.once("connect", () => {
      socket.destroy();
      resolve();
    });
    socket.once("error", reject);
  });
}

/**
 * Returns the path of the first of `programs` (names for the search path, or absolute paths) that exists; null if none
 * does.
 */
export async function findProgram(...programs: readonly string[]): Promise<string | null> {
  const directories = [...(process.env.PATH ?? "").split(delimiter), "/usr/local/sbin", "/usr/sbin", "/sbin"];
  for (const program of programs) {
    const candidates = program.includes("/") ? [program] : directories.map((directory) => join(directory, program));
    for (const path of candidates) {
      if (await access(path, constants.X_OK).then(() => true, () => false)) return path;
    }
  }
  return null;
}

/** How long the locks of other installations are waited for. */
const LOCK_SECONDS = 240;

let apt: Promise<unknown> = Promise.resolve();
let listsAreFresh = false;

/**
 * Installs Debian packages, one call after the other. `ELECT_TEST_INSTALL=0` forbids it.
 *
 * @throws {Error} if it is forbidden, if this is no Debian, or if we are not root
 */
export function aptInstall(...packages: readonly string[]): Promise<void> {
  const done = apt.then(() => installNow(packages));
  apt = done.catch(() => {});
  return done;
}

async function installNow(packages: readonly string[]): Promise<void> {
  const names = packages.join(" ");
  const refuse = (why: string) => new Error(`Cannot install Debian package "${names}": ${why}`);
  if (process.env.ELECT_TEST_INSTALL === "0") throw refuse("ELECT_TEST_INSTALL=0 forbids it");
  if (await findProgram("apt-get") === null) throw refuse("there is no apt-get");
  if (process.getuid?.() !== 0) throw refuse("only root may");
  if (!listsAreFresh) {
    await runApt(["update", "-q"]).catch((error) => {
      throw refuse(String(error));
    });
    listsAreFresh = true;
  }
  await runApt(["install", "-y", "-q", "--no-install-recommends", ...packages]).catch((error) => {
    throw refuse(String(error));
  });
}

/** Runs apt-get. A lock that another process holds, which installs something too, is waited for. */
async function runApt(args: readonly string[]): Promise<void> {
  const wait = ["-o", `DPkg::Lock::Timeout=${LOCK_SECONDS}`];
  for (const end = Date.now() + LOCK_SECONDS * 1_000;;) {
    try {
      await run("apt-get", [...wait, ...args]);
      return;
    } catch (error) {
      // That option does not cover the lock on the lists of packages.
      if (!/could not get lock|unable to lock|unable to acquire/i.test(String(error)) || Date.now() > end) throw error;
      await delay(1_000);
    }
  }
}

/** How a program is run. */
export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
  /** How long it may take, in milliseconds. @default ten minutes */
  readonly timeout?: number;
}

/**
 * Runs a program to its end and returns what it printed.
 *
 * @throws {Error} if it fails or takes too long; the message ends with what it printed last
 */
export function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive", RUNLEVEL: "1", ...options.env };
    execFile(command, args, { timeout: 600_000, maxBuffer: 2 ** 26, ...options, env }, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      const tail = `${stdout}\n${stderr}`.trim().split("\n").slice(-3).join("; ");
      reject(new Error(`Cannot run "${command} ${args.join(" ")}": ${tail || error.message}`));
    });
  });
}
