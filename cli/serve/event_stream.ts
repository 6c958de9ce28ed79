/**
 * The events of one election for any number of readers, as server-sent events.
 *
 * @module
 */

import { toJson } from "../output.ts";

/** The number of events that are kept for readers that resume, and of their bytes: the first limit counts. */
const [KEPT, KEPT_BYTES] = [1_000, 4 * 1024 * 1024];
/** The most bytes that wait for a reader. One that reads more slowly than events come is dropped, not waited for. */
const MAX_WAITING_BYTES = 256 * 1024;
/** The time after which a stream without an event says that it lives, in milliseconds. */
const KEEP_ALIVE_MS = 15_000;

/** The content of an event. */
export type EventData = Readonly<Record<string, unknown>>;

interface Kept {
  readonly number: number;
  readonly bytes: Uint8Array;
}

interface Reader {
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  readonly drop: () => void;
}

/** The events of one election, of which the last ones are kept. */
export class EventStream {
  /** The number of readers that were dropped, since they did not read. */
  dropped = 0;
  readonly #readers = new Set<Reader>();
  readonly #kept: Kept[] = [];
  /** Tells the events of this process from those of another before it, which ids of theirs do not count in. */
  readonly #origin = crypto.randomUUID().slice(0, 8);
  readonly #keepAlive: ReturnType<typeof setInterval>;
  #count = 0;
  #keptBytes = 0;

  constructor() {
    this.#keepAlive = setInterval(() => this.#send(encode(":\n\n")), KEEP_ALIVE_MS);
  }

  /** The number of readers now. */
  get readers(): number {
    return this.#readers.size;
  }

  /** Sends an event that a reader which resumes has to get. */
  publish(type: string, data: EventData): void {
    const number = ++this.#count;
    const bytes = this.#encode(type, data, number);
    this.#kept.push({ number, bytes });
    this.#keptBytes += bytes.length;
    while (this.#kept.length > KEPT || this.#keptBytes > KEPT_BYTES) {
      this.#keptBytes -= this.#kept.shift()?.bytes.length ?? 0;
    }
    this.#send(bytes);
  }

  /** Sends an event that the next of its type makes worthless: readers that resume do not get it. */
  tell(type: string, data: EventData): void {
    if (this.#readers.size > 0) this.#send(this.#encode(type, data));
  }

  /**
   * Opens a stream. It begins with what the reader has missed since `lastEventId`, as far as that is kept, and with
   * the `states`; `drop` is called when the reader does not keep up.
   */
  open(
    lastEventId: string | undefined,
    states: () => readonly EventData[],
    drop: () => void,
  ): ReadableStream<Uint8Array> {
    let reader: Reader | undefined;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        const missed = lastEventId === undefined ? [] : this.#since(lastEventId);
        if (missed === null) controller.enqueue(this.#encode("reset", { reason: "events in between are not kept" }));
        for (const { bytes } of missed ?? []) controller.enqueue(bytes);
        for (const state of states()) controller.enqueue(this.#encode("state", state, this.#count));
        reader = { controller, drop };
        this.#readers.add(reader);
      },
      cancel: () => {
        if (reader !== undefined) this.#readers.delete(reader);
      },
    }, new ByteLengthQueuingStrategy({ highWaterMark: MAX_WAITING_BYTES }));
  }

  /** Ends every stream. */
  close(): void {
    clearInterval(this.#keepAlive);
    for (const { controller } of this.#readers) controller.close();
    this.#readers.clear();
  }

  /** Returns the events after `id`; null if they are not all known, or never were. */
  #since(id: string): readonly Kept[] | null {
    const [, origin, digits] = /^([0-9a-f]{8})-(\d{1,15})$/.exec(id) ?? [];
    const number = Number(digits);
    if (origin !== this.#origin) return null;
    const missed = this.#kept.filter((each) => each.number > number);
    return missed.length === this.#count - number ? missed : null;
  }

  #encode(type: string, data: EventData, number?: number): Uint8Array {
    const id = number === undefined ? "" : `id: ${this.#origin}-${number}\n`;
    return encode(`${id}event: ${type}\ndata: ${toJson(data)}\n\n`);
  }

  #send(bytes: Uint8Array): void {
    for (const reader of this.#readers) {
      if ((reader.controller.desiredSize ?? 0) > 0) {
        reader.controller.enqueue(bytes);
        continue;
      }
      this.#readers.delete(reader);
      this.dropped++;
      reader.drop();
    }
  }
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
