/**
 * The steps that must be atomic, as Lua. The server runs a script as one step, with one reading of its clock, taken
 * when the script begins and not when it was sent.
 *
 * A group has two keys in one hash slot, `PREFIX{GROUP}` and `PREFIX{GROUP}:token`:
 *
 * - the lease, a hash: `termId`, `participantId`, `token`, `acquiredAt`, `renewedAt`, `expiresAt` (microseconds since
 *   the Unix epoch, by the server), `heartbeatTimeout` (milliseconds), `beats` (how often the term has written),
 *   `metadata` (JSON);
 * - the last token, a number.
 *
 * Outside a cluster there is one more for all groups, `PREFIXgroups`, a set of their names.
 *
 * None expires by itself: a key with an expiry vanishes when the server's clock is set forward, and the lease with it.
 * A record whose time is over stays until somebody takes over; a release deletes it.
 *
 * The version of a record is `termId:beats:renewedAt`: it changes with each write, also where the clock stands still or
 * is set back, and does not come again where a server has lost its last writes.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { MOST_TOLD_BYTES } from "../kit/hint_stream.ts";
import { COUNTING } from "./messages.ts";

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

const FIELDS = ["termId", "participantId", "token", "acquiredAt", "renewedAt", "metadata"];
/** Beside those above, what only the scripts and the evidence need. The places below count from one. */
const ALL_FIELDS = [...FIELDS, "heartbeatTimeout", "expiresAt", "beats"].map((field) => `'${field}'`).join(", ");

/**
 * Fails if the lease's key holds a hash that no election wrote. One that is no hash fails by itself, with WRONGTYPE.
 */
const READ_RECORD = `
local held = redis.call('HMGET', KEYS[1], ${ALL_FIELDS})
if held[1] then
  for _, place in ipairs({3, 4, 5, 7, 8, 9}) do
    if not tonumber(held[place]) then return redis.error_reply('FOREIGN it lacks what an election writes') end
  end
elseif redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.error_reply('FOREIGN it holds a hash that no election wrote')
end`;

const MICROSECONDS = `
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stamp = string.format('%.0f', now)`;

/**
 * `beat(key, lease, renewedAt, expiresAt, beats)` writes a renewal. It never shortens a lease: the later expiry stays.
 * Where the clock shows less than at the last write it was set back; then the earlier expiry means nothing, and a whole
 * lease from now is what the holder was promised.
 *
 * PERSIST is first: it may be done when memory is short, and once a script has written, it may go on. It also takes
 * away an expiry that somebody set by hand.
 */
const BEAT = `
local function beat(key, lease, renewedAt, expiresAt, beats)
  redis.call('PERSIST', key)
  local till = now + lease * 1000
  if now >= (tonumber(renewedAt) or 0) then till = math.max(till, tonumber(expiresAt) or 0) end
  redis.call('HSET', key, 'renewedAt', stamp, 'expiresAt', string.format('%.0f', till),
    'beats', string.format('%.0f', (tonumber(beats) or 0) + 1), 'heartbeatTimeout', lease)
end`;

/**
 * Takes the lease if it is free, renews it if the term holds it already, or tells who holds it.
 *
 * In: KEYS lease, token, and perhaps the set of groups. ARGV termId, participantId, heartbeatTimeout, metadata, a
 * version that may be taken over whatever the time is (or empty), the earliest and the latest time in microseconds at
 * which an expiry counts (or empty: at any), the group, the channel.
 * Out: `{1, now, token, acquiredAt}` or
 * `{0, now, termId, participantId, token, acquiredAt, renewedAt, metadata, heartbeatTimeout, expiresAt, beats}`. Clock:
 * the server's, as far as the caller believes it.
 */
export const ACQUIRE: Script = script(`
-- 1. Whose lease is it? Nothing else runs until the end of the script, so the answer stays true.
${READ_RECORD}
${MICROSECONDS}
${BEAT}
local isOver = held[1] and now >= tonumber(held[8])
-- 2. The same term again: the same lease, in full.
if held[1] == ARGV[1] and not isOver then
  beat(KEYS[1], ARGV[3], held[5], held[8], held[9])
  redis.call('HSET', KEYS[1], 'metadata', ARGV[4])
  return {1, stamp, held[3], held[4]}
end
-- 3. Another term's is free if its time is over, by a clock that is believed, or if it has stood still for a whole
--    lease.
if held[1] and held[1] ~= ARGV[1] then
  local isBelieved = (ARGV[6] == '' or now >= tonumber(ARGV[6])) and (ARGV[7] == '' or now <= tonumber(ARGV[7]))
  local hasStoodStill = ARGV[5] == held[1] .. ':' .. held[9] .. ':' .. held[5]
  if not (isOver and isBelieved) and not hasStoodStill then return {0, stamp, unpack(held)} end
end
-- 4. The next token: above the last one, and above those of a server that has lost its memory. All are below 2^53,
--    and so exact; it is kept before the lease is, so that no failure can bring it back.
local last = redis.call('GET', KEYS[2])
local token = now
for _, earlier in ipairs({last or '0', held[3] or '0'}) do
  local number = tonumber(earlier)
  if not number or number >= 9007199254740991 then
    return redis.error_reply('FOREIGN its token is not a number that an election wrote')
  end
  token = math.max(token, number + 1)
end
token = string.format('%.0f', token)
redis.call('SET', KEYS[2], token)
-- 5. The lease. Who may not do what a heartbeat does must fail here, and not later with a lease that cannot be renewed.
redis.call('PERSIST', KEYS[1])
redis.call('HSET', KEYS[1], 'termId', ARGV[1], 'participantId', ARGV[2], 'token', token, 'acquiredAt', stamp,
  'renewedAt', stamp, 'metadata', ARGV[4], 'heartbeatTimeout', ARGV[3],
  'expiresAt', string.format('%.0f', now + ARGV[3] * 1000), 'beats', '0')
-- 6. For those who list groups, and no more: who may not, or where something else is in the way, leads all the same.
if KEYS[3] then redis.pcall('SADD', KEYS[3], ARGV[8]) end
-- 7. For those who wait, so that they need not ask. A hint, and no more.
if #ARGV[4] <= ${MOST_TOLD_BYTES} then
  redis.pcall('PUBLISH', ARGV[9], cjson.encode({stamp, ARGV[1], ARGV[2], token, stamp, stamp, ARGV[4], ARGV[3],
    string.format('%.0f', now + ARGV[3] * 1000), '0'}))
end
return {1, stamp, token, stamp}
`);

/** `renew(key, held, termId, lease, version, channel, metadata)` renews the lease of a record, if the term holds it. */
const RENEW_ONE = `
${MICROSECONDS}
${BEAT}
local function renew(key, held, termId, lease, version, channel, metadata)
  -- 1. Another term's lease is not ours, and what is over is over: others may have been told so.
  if held[1] ~= termId then return {0, stamp} end
  local present = held[1] .. ':' .. (held[4] or '') .. ':' .. (held[2] or '')
  if tonumber(held[3]) and now >= tonumber(held[3]) and version ~= present then return {2, stamp, present} end
  -- 2. What others see.
  beat(key, lease, held[2], held[3], held[4])
  if metadata then redis.call('HSET', key, 'metadata', metadata) end
  -- 3. A hint, and no more.
  if channel ~= '' then
    redis.pcall('PUBLISH', channel, string.format('renewed %s %.0f %s', termId, now / 1000, lease))
  end
  return {1, stamp}
end`;

/** The fields of a record that `renew` needs. */
const RENEWED_FIELDS = "'termId', 'renewedAt', 'expiresAt', 'beats'";

/**
 * Renews the lease if the term holds it.
 *
 * In: KEYS lease. ARGV termId, heartbeatTimeout, a version that may be renewed although its time is over (or empty),
 * the channel that is told of it (or empty), optionally metadata. Out: `{1, now}` renewed, `{0, now}` another's,
 * `{2, now, version}` still in the record, but its time is over. Clock: the server's.
 */
export const RENEW: Script = script(`
${RENEW_ONE}
local held = redis.call('HMGET', KEYS[1], ${RENEWED_FIELDS})
return renew(KEYS[1], held, ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5])
`);

/**
 * Renews any number of leases, each as {@linkcode RENEW} would: it is decided by its own record, and by the one reading
 * of the clock that the step has. A key that holds something else stands in the way of none of the others.
 *
 * In: KEYS leases. ARGV for each of them termId, heartbeatTimeout, and the channel that is told of it (or empty). Out:
 * `{now, ...}`, for each lease 1 renewed, 0 another's, 2 its time is over, 3 no record. Clock: the server's.
 */
export const RENEW_MANY: Script = script(`
${RENEW_ONE}
local outcomes = {stamp}
for place, key in ipairs(KEYS) do
  local held = redis.pcall('HMGET', key, ${RENEWED_FIELDS})
  outcomes[place + 1] = 3
  if not held.err then
    local at = (place - 1) * 3
    outcomes[place + 1] = renew(key, held, ARGV[at + 1], ARGV[at + 2], '', ARGV[at + 3])[1]
  end
end
return outcomes
`);

/**
 * Gives the lease back if the term holds it, and tells those who wait.
 *
 * In: KEYS lease. ARGV termId, channel, the participant that is to lead next (or empty). Out: `{1, now}` released,
 * `{2, now}` released when its time was over, `{0, now}` not the holder. Clock: the server's, for the answer alone.
 */
export const RELEASE: Script = script(`
${MICROSECONDS}
-- 1. Only the holder's lease; the token stays.
local held = redis.call('HMGET', KEYS[1], 'termId', 'expiresAt')
if held[1] ~= ARGV[1] then return {0, stamp} end
redis.call('DEL', KEYS[1])
-- 2. A hint, and no more: who may not publish has released all the same. The first message counts those who wait, so
--    that the second can tell them how many they are, and for whom it was released.
local waiting = redis.pcall('PUBLISH', ARGV[2], '${COUNTING}')
if type(waiting) == 'number' and waiting > 0 then
  redis.pcall('PUBLISH', ARGV[2], 'free ' .. waiting .. ' ' .. ARGV[3])
end
if tonumber(held[2]) and now >= tonumber(held[2]) then return {2, stamp} end
return {1, stamp}
`);

/**
 * Reads the record, also one whose time is over. Writes nothing.
 *
 * In: KEYS lease. Out: `{now}` without one, else `{now, ...}` as a lost ACQUIRE has it. Clock: the server's.
 */
export const READ: Script = script(`
${READ_RECORD}
${MICROSECONDS}
if not held[1] then return {stamp} end
return {stamp, unpack(held)}
`);

/**
 * Tries every command that the other scripts use, on keys that live for a second.
 *
 * In: KEYS three that nobody uses, in one slot. ARGV channel. Out: what the server said against it, one line each.
 */
export const PROBE: Script = script(`
local problems = {}
local function try(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) == 'table' and answer.err then problems[#problems + 1] = command .. ': ' .. answer.err end
end
try('TIME')
try('EXISTS', KEYS[1])
try('PERSIST', KEYS[1])
-- Whoever may not delete must not leave a hash behind.
try('DEL', KEYS[1], KEYS[2], KEYS[3])
if #problems == 0 then
  try('SET', KEYS[2], '0', 'PX', 1000)
  try('GET', KEYS[2])
  try('HSET', KEYS[1], 'probe', '1')
  try('HMGET', KEYS[1], 'probe')
  try('SADD', KEYS[3], 'probe')
  try('DEL', KEYS[1], KEYS[2], KEYS[3])
end
try('PUBLISH', ARGV[1], '')
return problems
`);
