/** A collector of OpenTelemetry: takes what is sent by OTLP/HTTP as JSON, and keeps it. */

import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";

/** An attribute, as OTLP has it. */
interface KeyValue {
  readonly key: string;
  readonly value: { readonly stringValue?: string; readonly intValue?: string | number };
}

/** A value that a metric had, with its attributes. */
export interface Point {
  readonly attributes?: readonly KeyValue[];
  readonly asInt?: string | number;
  readonly asDouble?: number;
  readonly count?: string | number;
  readonly sum?: number;
}

/** A metric that was received. */
export interface Metric {
  readonly name: string;
  readonly unit?: string;
  readonly points: readonly Point[];
}

/** A span that was received. */
export interface Span {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly attributes?: readonly KeyValue[];
  readonly links?: readonly { readonly spanId: string }[];
}

interface Sum {
  readonly dataPoints: Point[];
}

interface Payload {
  readonly resourceMetrics?: {
    scopeMetrics: { metrics: { name: string; unit?: string; gauge?: Sum; sum?: Sum; histogram?: Sum }[] }[];
  }[];
  readonly resourceSpans?: { scopeSpans: { spans: Span[] }[] }[];
}

/** See the module. */
export class Collector implements AsyncDisposable {
  readonly metrics: Metric[] = [];
  readonly spans: Span[] = [];
  readonly #server = createServer(async (request, response) => {
    // A process that ends gives up what it was sending.
    const { resourceMetrics = [], resourceSpans = [] } = await json(request).catch(() => ({})) as Payload;
    for (const { metrics } of resourceMetrics.flatMap(({ scopeMetrics }) => scopeMetrics)) {
      for (const { name, unit, gauge, sum, histogram } of metrics) {
        const points = (gauge ?? sum ?? histogram)?.dataPoints ?? [];
        this.metrics.push({ name, ...(unit !== undefined && { unit }), points });
      }
    }
    this.spans.push(...resourceSpans.flatMap(({ scopeSpans }) => scopeSpans).flatMap(({ spans }) => spans));
    response.setHeader("content-type", "application/json").end("{}");
  });

  /** Starts one on a free port of 127.0.0.1. */
  static async start(): Promise<Collector> {
    const collector = new Collector();
    collector.#server.listen(0, "127.0.0.1");
    await once(collector.#server, "listening");
    return collector;
  }

  /** Where it listens. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

/** The attributes of a point or span, as an object. */
export function attributesOf({ attributes = [] }: { attributes?: readonly KeyValue[] }): Record<string, string> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, String(value.stringValue ?? value.intValue)]));
}
