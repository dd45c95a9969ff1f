/*
 * The key of a subject: a sorted set of texts, all with score 0, so that they are ordered by their bytes.
 *
 *   !<epoch>                      the current epoch: the number of its digits, and its digits. Without it, it is 0
 *   <epoch>c<start>NUL<keep>      a session, by its creation
 *   <epoch>x<expires><start>      the same session, by its expiry
 *   <epoch>o<keep><start>         a session that has expired: a later login puts this in the place of the other two
 *   ~<call>                       a call that changed this key in the last ten minutes, so that it is recognised
 *
 * The start of a session is its creation and its id; times have 11 digits of base 36. With ids of 36 characters no text is
 * longer than the 64 bytes up to which Redis packs small sets.
 *
 * A session is active as long as its `x` or `o` stands here with the current epoch. Logging a subject out everywhere
 * begins an epoch: one write, however many sessions there are. Everything about a subject is in this one key, so that no
 * script ever sees a part of it, also while a cluster moves it to another server.
 *
 * The functions for one session return 1 when it is (or was) active, 0 when not, and 2 when the key is missing: then the
 * session is not active, if this is the server that has the key.
 *
 * A full Redis refuses a script whose first write needs room. A login begins with such a write, a logout does not.
 */

/** Lua functions for scripts that ask whether a session is active. */
export const activeLua = `
local function epochOf (key)
  local lowest = redis.call('ZRANGE', key, 0, 0)[1]
  return lowest and lowest:sub(1, 1) == '!' and lowest:sub(2) or '10', lowest == nil
end

local function nameByExpiry (epoch, entry)
  return epoch .. 'x' .. entry:sub(-22, -12) .. entry:sub(1, -24)
end

local function nameOfExpired (epoch, entry)
  return epoch .. 'o' .. entry:sub(-11) .. entry:sub(1, -24)
end

local function isActive (key, entry)
  local epoch, isMissing = epochOf(key)
  if isMissing then return 2 end
  local found = redis.call('ZSCORE', key, nameByExpiry(epoch, entry)) or redis.call('ZSCORE', key, nameOfExpired(epoch, entry))
  return found and 1 or 0
end
`

/** Lua functions for scripts that list sessions. */
export const listLua = `${activeLua}
local function expiryOf (entry)
  return entry:sub(-22, -12)
end

local function nameByCreation (epoch, entry)
  return epoch .. 'c' .. entry:sub(1, -23) .. entry:sub(-11)
end

local function page (key, before, limit)
  local prefix = epochOf(key) .. 'c'
  local names = redis.call('ZREVRANGEBYLEX', key, '(' .. prefix .. before, '[' .. prefix, 'LIMIT', 0, limit)
  for place, name in ipairs(names) do names[place] = name:sub(#prefix + 1) end
  return names
end
`

/** Lua functions for scripts that log out. */
export const endLua = `${listLua}
local function endExpired (key, epoch, entry)
  local instant = redis.call('PEXPIRETIME', key)
  local ended = redis.call('ZREM', key, nameOfExpired(epoch, entry)) == 1
  return ended, instant
end

local function endSession (key, entry, call)
  local epoch, isMissing = epochOf(key)
  if isMissing then return 2 end
  if redis.call('ZREM', key, nameByExpiry(epoch, entry)) == 1 then
    redis.call('ZADD', key, 0, '~' .. call)
    redis.call('ZREM', key, nameByCreation(epoch, entry))
    return 1
  end
  local ended, instant = endExpired(key, epoch, entry)
  if not ended then return redis.call('ZSCORE', key, '~' .. call) and 1 or 0 end
  redis.call('ZADD', key, 0, '~' .. call)
  redis.call('PEXPIREAT', key, instant)
  return 1
end

local function following (epoch)
  local digits = string.format('%.0f', tonumber(epoch:sub(2)) + 1)
  return #digits .. digits
end

local function endSubject (key, except, count, now, call)
  local known = redis.call('ZRANGEBYLEX', key, '[~' .. call .. ' ', '(~' .. call .. '!', 'LIMIT', 0, 1)[1]
  if known then return tonumber(known:sub(#call + 3)) end
  local epoch = epochOf(key)
  if redis.call('ZLEXCOUNT', key, '[' .. epoch .. 'c', '(' .. epoch .. 'y') == 0 then return 0 end

  local ended = 0
  if count ~= '' then ended = redis.call('ZLEXCOUNT', key, '(' .. epoch .. 'x' .. now .. '~', '(' .. epoch .. 'y') end
  local added = {}
  for _, nameOf in ipairs(except ~= '' and { nameByCreation, nameByExpiry, nameOfExpired } or {}) do
    if redis.call('ZSCORE', key, nameOf(epoch, except)) then
      added[#added + 1] = 0
      added[#added + 1] = nameOf(following(epoch), except)
      if count ~= '' and nameOf == nameByExpiry and expiryOf(except) > now then ended = ended - 1 end
    end
  end
  redis.call('ZREM', key, '!' .. epoch)
  redis.call('ZADD', key, 0, '!' .. following(epoch), 0, '~' .. call .. ' ' .. string.format('%.0f', ended), unpack(added))
  return ended
end
`

/** Lua functions for scripts that log in. */
export const enterLua = `${endLua}
local function sortable (time)
  local text = ''
  for _ = 1, 11 do
    local digit = time % 36
    text = ('0123456789abcdefghijklmnopqrstuvwxyz'):sub(digit + 1, digit + 1) .. text
    time = (time - digit) / 36
  end
  return text
end

local function serverTime ()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function first (key, lowest, behind)
  return redis.call('ZRANGEBYLEX', key, '[' .. lowest, '(' .. behind, 'LIMIT', 0, 100)
end

local function dropPastEpochs (key, epoch, present)
  local past = first(key, '1', epoch)
  if #past < 100 or redis.call('ZLEXCOUNT', key, '[' .. epoch .. 'c', '(' .. epoch .. 'y') > 2 then
    if #past > 0 then redis.call('ZREM', key, unpack(past)) end
    return
  end
  local calls = redis.call('ZREVRANGEBYLEX', key, '+', '[~', 'LIMIT', 0, 100)
  redis.call('UNLINK', key)
  redis.call('ZADD', key, 0, '!' .. epoch, unpack(present))
  for _, call in ipairs(calls) do redis.call('ZADD', key, 0, call) end
end

local function dropExpired (key, epoch, now)
  for _, byExpiry in ipairs(first(key, epoch .. 'x', epoch .. 'x' .. now)) do
    local start = byExpiry:sub(#epoch + 13)
    local byCreation = first(key, epoch .. 'c' .. start .. '\\0', epoch .. 'c' .. start .. '\\1')[1]
    redis.call('ZREM', key, byExpiry)
    if byCreation then
      redis.call('ZREM', key, byCreation)
      redis.call('ZADD', key, 0, epoch .. 'o' .. byCreation:sub(-11) .. start)
    end
  end
  local forgotten = first(key, epoch .. 'o', epoch .. 'o' .. now)
  if #forgotten > 0 then redis.call('ZREM', key, unpack(forgotten)) end
end

local function enterSession (key, entry, keepUntil)
  local epoch = epochOf(key)
  local present = { 0, nameByCreation(epoch, entry), 0, nameByExpiry(epoch, entry) }
  redis.call('ZADD', key, unpack(present))
  local time = serverTime()
  redis.call('ZREMRANGEBYLEX', key, '[~', '(~' .. sortable(time - 600000))
  dropPastEpochs(key, epoch, present)
  dropExpired(key, epoch, sortable(time))
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIREAT', key, keepUntil) else redis.call('PEXPIREAT', key, keepUntil, 'GT') end
end
`
