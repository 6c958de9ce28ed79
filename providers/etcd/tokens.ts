/**
 * The tokens that stand for a user and the password. They live for minutes, and die with the servers.
 *
 * @module
 */

import { abortable, permanently } from "../../src/call.ts";
import { Code, EtcdError } from "./errors.ts";
import type { Credentials } from "./target.ts";

/** The longest time to get one, in milliseconds. */
const PATIENCE_MS = 5_000;

/** Gets a token when one is needed, once for all who wait for it. */
export class Tokens {
  readonly #authenticate: (body: string, signal: AbortSignal) => Promise<string>;
  readonly #credentials: Credentials;
  readonly #closing: AbortSignal;
  #token: Promise<string | null> | null = null;

  constructor(
    authenticate: (body: string, signal: AbortSignal) => Promise<string>,
    { credentials, closing }: { readonly credentials: Credentials; readonly closing: AbortSignal },
  ) {
    this.#authenticate = authenticate;
    this.#credentials = credentials;
    this.#closing = closing;
  }

  /** Returns the token; null where the cluster asks for none. */
  get(signal: AbortSignal): Promise<string | null> {
    if (this.#token === null) {
      const token = this.#get();
      this.#token = token;
      // A failure is not remembered.
      token.catch(() => this.#token = this.#token === token ? null : this.#token);
    }
    return abortable(this.#token, signal);
  }

  /** Takes note that a token was refused; without one, the one that there is. */
  async forget(token?: string | null): Promise<void> {
    const current = this.#token;
    if (current === null) return;
    if (token !== undefined && await current.catch(() => undefined) !== token) return;
    if (this.#token === current) this.#token = null;
  }

  async #get(): Promise<string | null> {
    const signal = AbortSignal.any([AbortSignal.timeout(PATIENCE_MS), this.#closing]);
    try {
      const { token } = JSON.parse(await this.#authenticate(JSON.stringify(this.#credentials), signal)) as {
        token?: string;
      };
      if (token === undefined) throw new Error("etcd answered without a token");
      return token;
    } catch (error) {
      if (error instanceof EtcdError && error.code === Code.failedPrecondition) return null;
      throw error instanceof EtcdError && error.code === Code.invalidArgument ? permanently(error) : error;
    }
  }
}
