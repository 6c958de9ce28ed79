/**
 * Other locks, beside which this package stands in the same run: each as its users would use it, with its defaults
 * where it has some, and without an end to its patience.
 */

/** A lock of one name, in one process. */
export interface Peer {
  /** Waits until it is held. */
  acquire(): Promise<unknown>;
  /** Gives it back; resolves once it is free. */
  release(): Promise<unknown>;
  /** Extends it, where that is a call. */
  readonly renew?: () => Promise<unknown>;
  /** Ends its connections and processes. */
  close(): Promise<unknown>;
}

/** One kind of lock. */
export interface PeerKind {
  /** The provider whose backend it uses. */
  readonly provider: string;
  /** Whether a lock is a command around another one, whose start is most of what a call takes. */
  readonly isCommand?: boolean;
  /** Makes a lock called `key` on the backend that a provider opens by `url`. */
  open(url: string, key: string): Promise<Peer>;
}
