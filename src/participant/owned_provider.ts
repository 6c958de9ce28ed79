/**
 * A provider that one election has opened for itself: `stop` closes it, and a later `start` opens another.
 *
 * @module
 */

import { ForwardingProvider } from "../forwarding_provider.ts";
import type { Provider } from "../provider.ts";

/** Hands every call to the provider that is open at the moment. */
export class OwnedProvider extends ForwardingProvider {
  readonly #open: () => Promise<Provider>;
  #isOpen = true;

  /** Owns `first` from now on; `open` opens its successors. */
  constructor(first: Provider, open: () => Promise<Provider>) {
    super(first);
    this.#open = open;
  }

  /** True if it need not be opened. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Opens a provider if the last one was closed. One that comes after `signal` has aborted is closed at once: nobody
   * would close it later.
   */
  async connect(signal: AbortSignal): Promise<void> {
    if (this.#isOpen) return;
    const opened = await this.#open();
    if (signal.aborted) return await opened[Symbol.asyncDispose]();
    this.target = opened;
    this.#isOpen = true;
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    await super[Symbol.asyncDispose]();
  }
}
