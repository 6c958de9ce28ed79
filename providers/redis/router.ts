/**
 * Which server a key's commands go to, and the connections there.
 *
 * @module
 */

import { type Link, type LinkParts, openLink, type Setup } from "./link.ts";
import { type Address, format } from "./target.ts";

/** Finds the server of a key. */
export interface Router {
  /** Returns the connection for a key, if there is one that is known to be right. */
  ready(key: string): Link | null;
  /** Returns the connection for a key, and makes one where that is necessary. */
  find(key: string): Promise<Link>;
  /**
   * Returns where a server's error sends a command that it has not carried out, or null if it sends it nowhere.
   */
  redirect(error: string, from: Link): Promise<Redirection> | null;
  /** Returns the primaries that keep the keys. */
  primaries(): Promise<readonly Address[]>;
  /** Returns which primary has each slot, as `host:port`; null where one has all. */
  owners(): Promise<readonly (string | undefined)[] | null>;
  /** Makes a connection beside the others. It is the caller's to close. */
  open(address: Address): Promise<Link>;
  /** Closes the connections whose server has been silent for `limitMs` while it owed an answer. */
  suspect(limitMs: number): void;
  /** Closes all connections. */
  close(): void;
}

/** Where a command goes instead. */
export interface Redirection {
  readonly link: Link;
  /** True if `ASKING` goes before it: the slot is on its way to that server. */
  readonly asking: boolean;
}

/**
 * Connections by address. Those who want the same one at the same time share one attempt, and a failed one is
 * forgotten.
 */
export class Links {
  readonly #parts: LinkParts;
  readonly #setup: Setup;
  readonly #open = new Map<string, Link>();
  readonly #opening = new Map<string, Promise<Link>>();
  #isClosed = false;

  /** Makes connections of `parts` that are set up as `setup` says. */
  constructor(parts: LinkParts, setup: Setup) {
    this.#parts = parts;
    this.#setup = setup;
  }

  /** Returns the connection to `address` if it is open. */
  ready(address: string): Link | null {
    const link = this.#open.get(address);
    return link?.isOpen ? link : null;
  }

  /** Returns the connection to `address`, and makes it if there is none. */
  get(address: Address): Promise<Link> {
    const name = format(address);
    const ready = this.ready(name);
    if (ready !== null) return Promise.resolve(ready);
    let opening = this.#opening.get(name);
    if (opening === undefined) {
      opening = this.#keep(name, address).finally(() => this.#opening.delete(name));
      this.#opening.set(name, opening);
    }
    return opening;
  }

  /** Makes a connection that is the caller's. */
  separate(address: Address): Promise<Link> {
    return openLink(this.#parts, address, this.#setup);
  }

  /** Returns the open ones. */
  all(): Link[] {
    return [...this.#open.values()];
  }

  /** Closes all of them, those that are being made as well. */
  close(): void {
    this.#isClosed = true;
    for (const link of this.all()) link.close(new Error("the provider is closed"));
  }

  async #keep(name: string, address: Address): Promise<Link> {
    const link = await this.separate(address);
    if (this.#isClosed) {
      link.close(null);
      throw new Error("the provider is closed");
    }
    this.#open.set(name, link);
    void link.closed.then(() => {
      if (this.#open.get(name) === link) this.#open.delete(name);
    });
    return link;
  }
}

/** One server, or whichever one of several `locate` finds to be the primary. */
export class PrimaryRouter implements Router {
  readonly #links: Links;
  readonly #locate: () => Promise<Address>;
  #current: Link | null = null;
  #finding: Promise<Link> | null = null;

  /** Asks `locate` before each connection that it makes. */
  constructor(links: Links, locate: () => Promise<Address>) {
    this.#links = links;
    this.#locate = locate;
  }

  /** Returns the connection, if it is open. */
  ready(): Link | null {
    return this.#current?.isOpen ? this.#current : null;
  }

  /** Returns the connection, or makes one to what is the primary now. */
  find(): Promise<Link> {
    const ready = this.ready();
    if (ready !== null) return Promise.resolve(ready);
    return this.#finding ??= this.#find().finally(() => this.#finding = null);
  }

  /** Nobody else has the keys. */
  redirect(): null {
    return null;
  }

  /** Returns the primary of now. */
  async primaries(): Promise<readonly Address[]> {
    return [this.ready()?.address ?? await this.#locate()];
  }

  /** Returns null: there is one primary. */
  owners(): Promise<null> {
    return Promise.resolve(null);
  }

  /** Makes another connection. */
  open(address: Address): Promise<Link> {
    return this.#links.separate(address);
  }

  /** Closes the connection if it is silent. */
  suspect(limitMs: number): void {
    this.#current?.closeIfSilent(limitMs);
  }

  /** Closes the connection. */
  close(): void {
    this.#links.close();
  }

  async #find(): Promise<Link> {
    return this.#current = await this.#links.get(await this.#locate());
  }
}
