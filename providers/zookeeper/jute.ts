/**
 * Jute, the encoding of ZooKeeper's protocol: big-endian numbers, strings and buffers behind their length, and frames
 * behind theirs.
 *
 * @module
 */

const UTF8 = new TextEncoder();
const TEXT = new TextDecoder();

/**
 * No reply is longer: a server refuses requests over 1 MiB by default, and a list of children may be some times that.
 */
const MAX_FRAME_BYTES = 64 * 1024 * 1024;

/** Builds one frame. */
export class JuteWriter {
  #bytes = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 4;

  /** Appends a 32-bit integer. */
  int(value: number): this {
    const at = this.#grow(4);
    this.#view.setInt32(at, value);
    return this;
  }

  /** Appends a 64-bit integer. */
  long(value: bigint): this {
    const at = this.#grow(8);
    this.#view.setBigInt64(at, value);
    return this;
  }

  /** Appends a boolean. */
  boolean(value: boolean): this {
    const at = this.#grow(1);
    this.#view.setUint8(at, value ? 1 : 0);
    return this;
  }

  /** Appends bytes behind their length. */
  buffer(value: Uint8Array): this {
    this.int(value.length);
    const at = this.#grow(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  /** Appends a string as UTF-8. */
  string(value: string): this {
    return this.buffer(UTF8.encode(value));
  }

  /** Returns the frame, its length in front. */
  frame(): Uint8Array {
    this.#view.setInt32(0, this.#length - 4);
    return this.#bytes.subarray(0, this.#length);
  }

  /**
   * Returns where the next `count` bytes go. Moves all to a larger buffer if need be, so it must come before the use of
   * one.
   */
  #grow(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

/** Reads the content of one frame. Every method throws a `RangeError` when the frame is too short for what it says. */
export class JuteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Reads a 32-bit integer. */
  int(): number {
    return this.#view.getInt32(this.#take(4));
  }

  /** Reads a 64-bit integer. */
  long(): bigint {
    return this.#view.getBigInt64(this.#take(8));
  }

  /** Reads a boolean. */
  boolean(): boolean {
    return this.#view.getUint8(this.#take(1)) !== 0;
  }

  /** Reads bytes behind their length; the length -1 stands for none. */
  buffer(): Uint8Array {
    const length = this.int();
    const at = this.#take(length === -1 ? 0 : length);
    return this.#bytes.slice(at, this.#at);
  }

  /** Reads a string. */
  string(): string {
    return TEXT.decode(this.buffer());
  }

  /** Reads a list of strings. */
  strings(): string[] {
    const found: string[] = [];
    for (let left = this.int(); left > 0; left--) found.push(this.string());
    return found;
  }

  #take(count: number): number {
    const at = this.#at;
    if (count < 0 || at + count > this.#bytes.length) {
      throw new RangeError(`a field of ${count} bytes at ${at} does not fit its frame of ${this.#bytes.length} bytes`);
    }
    this.#at += count;
    return at;
  }
}

/** Cuts a stream of bytes into frames. */
export class FrameDecoder {
  #rest: Uint8Array = new Uint8Array(0);

  /**
   * Takes what has arrived, and returns the frames that it completes.
   *
   * @throws {RangeError} if a length is negative or beyond all reason: the peer does not speak the protocol
   */
  push(chunk: Uint8Array): JuteReader[] {
    // A plain array of bytes: the `slice` of Node's `Buffer` copies nothing, and what it shares may be used again.
    const fresh = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    const bytes = this.#rest.length === 0 ? fresh : concat([this.#rest, fresh]);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const frames: JuteReader[] = [];
    let at = 0;
    while (bytes.length - at >= 4) {
      const length = view.getInt32(at);
      if (length < 0 || length > MAX_FRAME_BYTES) {
        throw new RangeError(
          `a frame must have 0 to ${MAX_FRAME_BYTES} bytes, got ${length}: this is no ZooKeeper server`,
        );
      }
      if (bytes.length - at - 4 < length) break;
      frames.push(new JuteReader(bytes.subarray(at + 4, at + 4 + length)));
      at += 4 + length;
    }
    this.#rest = bytes.slice(at);
    return frames;
  }
}

/** Joins `parts`. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const [only] = parts;
  if (only !== undefined && parts.length === 1) return only;
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
