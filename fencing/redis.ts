/**
 * A fence in Redis, with the write in one script.
 *
 * @module
 */

import { abortable } from "../src/call.ts";
import { refuseUnknown } from "../src/spelling.ts";
import { type AdmitOptions, checkAdmission, type Fence, FencedError } from "./fence.ts";

/** The part of a client of `ioredis` that the fence needs. */
export interface RedisFenceClient {
  /** Runs a script. */
  eval(script: string, keyCount: number, ...keysAndValues: (string | number | Uint8Array)[]): Promise<unknown>;
}

/** Options of `redisFence`. */
export interface RedisFenceOptions {
  /**
   * The beginning of the fences' keys, which end with the resource. @default "multilock:fence:"
   */
  readonly prefix?: string | undefined;
}

/** A write to Redis, as a script. */
export interface RedisWrite {
  /** The body of a Lua function of `KEYS` and `ARGV`, as in any script. */
  readonly script: string;
  /** The keys that it writes to. In a cluster they and the resource must share a hash tag, such as `{account:7}`. */
  readonly keys: readonly string[];
  /** The values that it is given. @default none */
  readonly values?: readonly (string | number | Uint8Array)[] | undefined;
}

/** A fence in Redis. */
export interface RedisFence extends Fence {
  /**
   * Runs a write if `token` is admitted, as one step, and returns what its script returned.
   *
   * @throws {FencedError} if a higher token has been admitted: then the script did not run
   * @throws what the client threw
   */
  write(resource: string, token: bigint, write: RedisWrite, options?: AdmitOptions): Promise<unknown>;
  /**
   * Admits a token by itself. What follows it is another step, before which a higher token may be admitted:
   * {@linkcode RedisFence.write} is safe, this is not, except to announce a new term before it writes.
   */
  admit(resource: string, token: bigint, options?: AdmitOptions): Promise<void>;
}

/**
 * Makes a fence that keeps the highest token of a resource in a key without an expiry. It is as durable as the server:
 * one that loses its memory, or the key, refuses nothing until it has seen a token.
 */
export function redisFence(client: RedisFenceClient, options: RedisFenceOptions = {}): RedisFence {
  refuseUnknown("fence option", Object.keys(options), ["prefix"]);
  const { prefix = "multilock:fence:" } = options;
  if (typeof prefix !== "string") throw new TypeError(`Cannot use prefix "${prefix}": it must be text`);
  return new FenceInRedis(client, prefix);
}

class FenceInRedis implements RedisFence {
  readonly #client: RedisFenceClient;
  readonly #prefix: string;

  constructor(client: RedisFenceClient, prefix: string) {
    this.#client = client;
    this.#prefix = prefix;
  }

  async admit(resource: string, token: bigint, options: AdmitOptions = {}): Promise<void> {
    await this.write(resource, token, { script: "", keys: [] }, options);
  }

  async write(
    resource: string,
    token: bigint,
    { script, keys, values = [] }: RedisWrite,
    options: AdmitOptions = {},
  ): Promise<unknown> {
    checkAdmission(resource, token, options);
    const all = [`${this.#prefix}${resource}`, ...keys, String(token), ...values];
    const written = this.#client.eval(fenced(script), keys.length + 1, ...all).catch((error: unknown) => {
      const [, highest] = /\bFENCED (\d+)/.exec(error instanceof Error ? error.message : String(error)) ?? [];
      if (highest === undefined) throw error;
      throw new FencedError(resource, token, BigInt(highest), { cause: error });
    });
    return await abortable(written, options.signal ?? NEVER);
  }
}

/**
 * Wraps the body of a script.
 *
 * In: KEYS the fence, then those of the body. ARGV the token, then those of the body. Out: what the body returns.
 */
function fenced(body: string): string {
  return `
-- 1. Digits, not numbers: those of Lua end at 2^53. Of two without leading zeros the longer one is higher.
local highest, token = redis.call('GET', KEYS[1]) or '0', ARGV[1]
if not string.match(highest, '^%d+$') then return redis.error_reply('FOREIGN the fence holds no token') end
if #highest > #token or (#highest == #token and highest > token) then
  return redis.error_reply('FENCED ' .. highest)
end
-- 2. Nothing else runs until the end of the script, so what is admitted here is written before any higher token is.
if highest ~= token then redis.call('SET', KEYS[1], token) end
local keys, values = {}, {}
for i = 2, #KEYS do keys[i - 1] = KEYS[i] end
for i = 2, #ARGV do values[i - 1] = ARGV[i] end
local function write(KEYS, ARGV)
${body}
end
return write(keys, values)`;
}

const NEVER = new AbortController().signal;
