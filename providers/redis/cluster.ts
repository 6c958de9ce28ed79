/**
 * The servers of a cluster. Each command goes to the primary of its slot, at once or never: nothing waits in a queue
 * for the cluster to be well again.
 *
 * @module
 */

import { type Link, messageOf } from "./link.ts";
import type { Links, Redirection, Router } from "./router.ts";
import { readRedirect, readSlots, type SlotMap, slotOf } from "./slots.ts";
import { type Address, format } from "./target.ts";

/** The number of servers that are asked at the same time who has which slots. */
const ASKED = 8;

/** Finds the primary of each slot. */
export class ClusterRouter implements Router {
  readonly #links: Links;
  readonly #seeds: ReadonlyMap<string, Address>;
  readonly #translate: (address: Address) => Address;
  #map: SlotMap | null = null;
  /** True if the map must be asked for again before it is used. */
  #isStale = true;
  /** Servers that failed or were silent since the map was last asked for: not to be asked, if there are others. */
  readonly #avoided = new Set<string>();
  #refreshing: Promise<SlotMap> | null = null;

  /** Starts from `seeds`. `translate` maps an address as the servers see it to the one to connect to. */
  constructor(links: Links, seeds: readonly Address[], translate: (address: Address) => Address) {
    this.#links = links;
    this.#seeds = new Map(seeds.map((address) => [format(address), address]));
    this.#translate = translate;
  }

  /** Returns the connection to the primary of a key's slot, if it is open and the map is good. */
  ready(key: string): Link | null {
    const primary = this.#isStale ? undefined : this.#map?.primaryOf[slotOf(key)];
    return primary === undefined ? null : this.#links.ready(primary);
  }

  /** Returns the connection to the primary of a key's slot. */
  async find(key: string): Promise<Link> {
    const { primaryOf, nodes } = await this.#current();
    const slot = slotOf(key);
    const address = nodes.get(primaryOf[slot] ?? "");
    if (address === undefined) {
      this.#isStale = true;
      throw new Error(`CLUSTERDOWN no server has slot ${slot}`);
    }
    return await this.#connect(address);
  }

  /** Goes where a server says that the slot is, which it knows better than the map does. */
  redirect(error: string, from: Link): Promise<Redirection> | null {
    const found = readRedirect(error, from.address);
    // It knows of a fault, and not of a cure: the others may know more.
    if (found === null && /\bCLUSTERDOWN\b/.test(error)) this.#avoid(format(from.address));
    if (found === null) return null;
    // A slot that has moved seldom moves alone.
    if (!found.asking) this.#isStale = true;
    return this.#connect(this.#translate(found.address)).then((link) => ({ link, asking: found.asking }));
  }

  /** Returns the primaries that have slots. */
  async primaries(): Promise<readonly Address[]> {
    const { primaryOf, nodes } = await this.#current();
    return [...new Set(primaryOf)].flatMap((name) => nodes.get(name ?? "") ?? []);
  }

  /** Returns the primary of each slot. */
  async owners(): Promise<readonly (string | undefined)[]> {
    return (await this.#current()).primaryOf;
  }

  /** Makes a connection beside the others. */
  async open(address: Address): Promise<Link> {
    try {
      return await this.#links.separate(address);
    } catch (error) {
      this.#avoid(format(address));
      throw error;
    }
  }

  /** Closes what is silent. */
  suspect(limitMs: number): void {
    for (const link of this.#links.all()) link.closeIfSilent(limitMs);
  }

  /** Closes all connections. */
  close(): void {
    this.#links.close();
  }

  async #connect(address: Address): Promise<Link> {
    const name = format(address);
    const ready = this.#links.ready(name);
    if (ready !== null) return ready;
    try {
      const link = await this.#links.get(address);
      void link.closed.then(() => {
        if (this.#map?.primaryOf.includes(name)) this.#avoid(name);
      });
      return link;
    } catch (error) {
      this.#avoid(name);
      throw error;
    }
  }

  #avoid(name: string): void {
    this.#avoided.add(name);
    this.#isStale = true;
  }

  #current(): Promise<SlotMap> {
    if (this.#map !== null && !this.#isStale) return Promise.resolve(this.#map);
    return this.#refreshing ??= this.#refresh().finally(() => this.#refreshing = null);
  }

  /**
   * Asks some of the servers and takes the first answer. Not that of a server that has just failed: it may be the one
   * that was replaced, and the last to know.
   */
  async #refresh(): Promise<SlotMap> {
    const known = [...new Map([...this.#seeds, ...this.#map?.nodes ?? []])];
    const trusted = known.filter(([name]) => !this.#avoided.has(name));
    // Avoided is forgotten with each attempt: the next one may need those that failed this time.
    this.#avoided.clear();
    const asked = shuffled(trusted.length > 0 ? trusted : known).slice(0, ASKED);
    this.#isStale = false;
    try {
      const map = await Promise.any(asked.map(([, address]) => this.#ask(address)));
      for (const link of this.#links.all()) {
        if (!map.primaryOf.includes(format(link.address))) link.close(new Error("the server has no slots any more"));
      }
      return this.#map = map;
    } catch (error) {
      this.#isStale = true;
      const failures = error instanceof AggregateError ? error.errors : [error];
      throw new Error(`no server of the cluster answers: ${failures.map(messageOf).join("; ")}`, { cause: error });
    }
  }

  async #ask(address: Address): Promise<SlotMap> {
    const ready = this.#links.ready(format(address));
    const link = ready ?? await this.#links.separate(address);
    try {
      const map = readSlots(await link.send("CLUSTER", "slots"), address, this.#translate);
      if (map.nodes.size === 0) throw new Error(`${format(address)} knows no server that has slots`);
      return map;
    } finally {
      if (ready === null) link.close(null);
    }
  }
}

function shuffled<T>(items: readonly T[]): T[] {
  return items.map((item) => ({ item, at: Math.random() })).sort((a, b) => a.at - b.at).map(({ item }) => item);
}
