/**
 * The steps that must be atomic, as Lua. The server runs a script as one step, with one reading of its clock: a key whose
 * expiry has passed does not exist for it.
 *
 * A group has two keys in one hash slot, `PREFIX{GROUP}` and `PREFIX{GROUP}:token`:
 *
 * - the lease, a hash that expires with it: `termId`, `participantId`, `token`, `acquiredAt` and `renewedAt` (microseconds
 *   since the Unix epoch, by the server), `metadata` (JSON);
 * - the last token, a number that never expires.
 *
 * @module
 */

import { createHash } from "node:crypto";

/** A script and the digest by which the server knows it once it has seen it. */
export interface Script {
  /** Its text. */
  readonly lua: string;
  /** SHA-1 of the text, in hexadecimal. */
  readonly sha: string;
}

function script(lua: string): Script {
  return { lua, sha: createHash("sha1").update(lua).digest("hex") };
}

/** Fails if the lease's key holds a hash that no election wrote. One that is no hash fails by itself, with WRONGTYPE. */
const REFUSE_FOREIGN = `
if not held[1] and redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.error_reply('FOREIGN it holds a hash that no election wrote')
end`;

const MICROSECONDS = `
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000000 + time[2])`;

/**
 * Takes the lease if it is free, renews it if the term holds it already, or tells who holds it.
 *
 * In: KEYS lease, token. ARGV termId, participantId, milliseconds, metadata.
 * Out: `{1, token, acquiredAt}` or `{0, termId, participantId, token, acquiredAt, renewedAt, metadata, expiresIn}`.
 * Clock: the server's, for the expiry and in the token.
 */
export const ACQUIRE: Script = script(`
-- 1. Whose lease is it? Nothing else runs until the end of the script, so the answer stays true.
local held = redis.call('HMGET', KEYS[1], 'termId', 'participantId', 'token', 'acquiredAt', 'renewedAt', 'metadata')
${REFUSE_FOREIGN}
if held[1] and held[1] ~= ARGV[1] then
  return {0, held[1], held[2], held[3], held[4], held[5], held[6], redis.call('PTTL', KEYS[1])}
end
${MICROSECONDS}
-- 2. The same term again: the same lease, in full. The expiry comes first, since it may be set when memory is short.
if held[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  redis.call('HSET', KEYS[1], 'renewedAt', now, 'metadata', ARGV[4])
  return {1, held[3], held[4]}
end
-- 3. The next token: above the last one, and above those of a server that has lost its memory. Both are below 2^53, and
--    so exact; it is kept before the lease is, so that no failure can bring it back.
local last = redis.call('GET', KEYS[2])
local token = tonumber(now)
if last then
  local number = tonumber(last)
  if not number or number >= 9007199254740991 then
    return redis.error_reply('FOREIGN its token is not a number that an election wrote')
  end
  token = math.max(token, number + 1)
end
token = string.format('%.0f', token)
redis.call('SET', KEYS[2], token)
-- 4. Who may not set an expiry must fail here, where there is no key yet, and not with a lease that stays for ever.
redis.call('PEXPIRE', KEYS[1], ARGV[3])
-- 5. The lease.
redis.call('HSET', KEYS[1], 'termId', ARGV[1], 'participantId', ARGV[2], 'token', token,
  'acquiredAt', now, 'renewedAt', now, 'metadata', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {1, token, now}
`);

/**
 * Renews the lease if the term holds it.
 *
 * In: KEYS lease. ARGV termId, milliseconds, optionally metadata. Out: 1 renewed, 0 lost. Clock: the server's.
 */
export const RENEW: Script = script(`
-- 1. An expired lease is gone, and another term's is not ours.
if redis.call('HGET', KEYS[1], 'termId') ~= ARGV[1] then return 0 end
-- 2. The expiry first: it may be set when memory is short, and once a script has written, it may go on.
redis.call('PEXPIRE', KEYS[1], ARGV[2])
-- 3. What others see.
${MICROSECONDS}
redis.call('HSET', KEYS[1], 'renewedAt', now)
if ARGV[3] then redis.call('HSET', KEYS[1], 'metadata', ARGV[3]) end
return 1
`);

/**
 * Gives the lease back if the term holds it, and tells those who wait.
 *
 * In: KEYS lease. ARGV termId, channel. Out: 1 released, 0 not the holder. Clock: the server's, for the expiry.
 */
export const RELEASE: Script = script(`
-- 1. Only the holder's lease; the token stays.
if redis.call('HGET', KEYS[1], 'termId') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
-- 2. A hint, and no more: who may not publish has released all the same.
redis.pcall('PUBLISH', ARGV[2], '')
return 1
`);

/**
 * Reads who leads. Writes nothing.
 *
 * In: KEYS lease. Out: nil or `{termId, participantId, token, acquiredAt, renewedAt, metadata, expiresIn}`. Clock: the server's.
 */
export const READ: Script = script(`
local held = redis.call('HMGET', KEYS[1], 'termId', 'participantId', 'token', 'acquiredAt', 'renewedAt', 'metadata')
${REFUSE_FOREIGN}
if not held[1] then return false end
return {held[1], held[2], held[3], held[4], held[5], held[6], redis.call('PTTL', KEYS[1])}
`);

/**
 * Tries every command that the other scripts use, on keys that live for a second.
 *
 * In: KEYS two that nobody uses, in one slot. ARGV channel. Out: what the server said against it, one line each.
 */
export const PROBE: Script = script(`
local problems = {}
local function try(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) == 'table' and answer.err then problems[#problems + 1] = command .. ': ' .. answer.err end
end
try('TIME')
try('EXISTS', KEYS[1])
try('PTTL', KEYS[1])
try('DEL', KEYS[1], KEYS[2])
try('SET', KEYS[2], '0', 'PX', 1000)
try('GET', KEYS[2])
-- The expiry is tried on a key that has one already: where it is forbidden, nothing stays behind.
try('PEXPIRE', KEYS[2], 1000)
if #problems == 0 then
  try('HSET', KEYS[1], 'probe', '1')
  redis.pcall('PEXPIRE', KEYS[1], 1000)
  try('HGET', KEYS[1], 'probe')
  try('HMGET', KEYS[1], 'probe')
end
try('PUBLISH', ARGV[1], '')
return problems
`);
