/**
 * The backends that the benchmarks measure, and the bare calls beside which they stand.
 *
 * `memory`, `file` and `sqlite` are always there; any other is measured when `ELECT_TEST_<NAME>_URL` names its server.
 *
 * @module
 */

import type { AcquireRequest, Lease, Provider } from "../src/provider.ts";

/** A provider, and the cheapest single call of the same weight that its driver can make, on a connection of its own. */
export interface BenchBackend {
  /** The provider that is measured. */
  readonly provider: Provider;
  /** The bare calls. They keep to keys of their own. */
  readonly bare: {
    /** Takes a lock that is free. */
    acquireWon(): Promise<unknown>;
    /** Tries to take a lock that is held. */
    acquireLost(): Promise<unknown>;
    /** Extends a lock that is held. */
    heartbeat(): Promise<unknown>;
    /** Gives the lock back. */
    release(): Promise<unknown>;
  };
  /** The `heartbeatTimeout` of the leases, in milliseconds. */
  readonly heartbeatTimeout: number;
  /** Closes the provider and the bare connection. */
  close(): Promise<void>;
}

/** The module of one backend. */
interface BenchModule {
  open(url: string): Promise<BenchBackend>;
}

/** A backend that is there, and its name. */
export interface NamedBackend {
  readonly name: string;
  readonly backend: BenchBackend;
}

/** Opens every backend whose server is there. */
export async function openBackends(): Promise<NamedBackend[]> {
  const names: string[] = [];
  for await (const file of Deno.readDir(new URL("./backends/", import.meta.url))) {
    names.push(file.name.replace(/\.ts$/, ""));
  }
  const opened: NamedBackend[] = [];
  for (const name of names.sort()) {
    const url = urlOf(name);
    if (url === null) {
      console.warn(`no ${name}: ELECT_TEST_${name.toUpperCase()}_URL is not set`);
      continue;
    }
    const module: BenchModule = await import(`./backends/${name}.ts`);
    opened.push({ name, backend: await module.open(url) });
  }
  return opened;
}

/** Asks for the lease of `electionGroup` in a new term. */
export function request(backend: BenchBackend, electionGroup: string): AcquireRequest {
  const { heartbeatTimeout } = backend;
  return { electionGroup, participantId: "bench", termId: crypto.randomUUID(), heartbeatTimeout, metadata: {} };
}

/** Takes a lease that must be free. */
export async function win(backend: BenchBackend, electionGroup: string): Promise<Lease> {
  const answer = await backend.provider.acquire(request(backend, electionGroup), {
    signal: AbortSignal.timeout(10_000),
  });
  if (!answer.acquired) throw new Error(`Cannot measure "${electionGroup}": ${answer.leader?.leaderId} leads it`);
  return answer.lease;
}

/** A signal that never aborts: the driver's own bounds are part of what is measured, a timer for each call is not. */
export const unbounded = { signal: new AbortController().signal };

function urlOf(name: string): string | null {
  if (name === "memory") return "memory:bench";
  if (name === "file") return temporaryDirectory();
  if (name === "sqlite") return temporaryDirectory().replace(/^file:(.*)\/leases\/$/, "sqlite:$1/leases.db");
  return Deno.env.get(`ELECT_TEST_${name.toUpperCase()}_URL`) ?? null;
}

function temporaryDirectory(): string {
  const directory = Deno.makeTempDirSync({ prefix: "elect-bench-" });
  globalThis.addEventListener("unload", () => Deno.removeSync(directory, { recursive: true }));
  return new URL("./leases/", `file://${directory}/`).href;
}
