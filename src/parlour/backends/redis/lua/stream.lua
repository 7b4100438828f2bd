-- Shared by every script that works on one stream.
--
-- window    Redis Stream: entry {offset}-0 holds the record `d`; the last one of an append holds its
--           fence `e` (or nothing) and its dedupe key `k`
-- meta      hash: epoch, head, base, trimmed, synced, fence, run, bytes, leaving
-- receipts  hash: dedupe key -> "epoch first last at " .. receipt
-- queue     list: dedupe keys, oldest first
-- counted   list: offsets of the messages in the window
-- dirty     sorted set: streams that the archive lacks events of, by the time since when
-- active    sorted set: streams by their last activity
-- totals    hash: events, bytes that the archive lacks, over all streams
local window, meta, receipts, queue, counted = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local dirty, active, totals = KEYS[6], KEYS[7], KEYS[8]

local RECEIPT_MS = 86400000

local function whole(number)
  return string.format('%.0f', number)
end

local function id(offset)
  return whole(offset) .. '-0'
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The stream's state as numbers; nil where it is not held.
local function load()
  local m = redis.call('HMGET', meta, 'epoch', 'head', 'base', 'trimmed', 'synced', 'fence', 'run',
    'bytes', 'leaving')
  if not m[1] then
    return nil
  end
  return {
    epoch = m[1], head = tonumber(m[2]), base = tonumber(m[3]), trimmed = tonumber(m[4]),
    synced = tonumber(m[5]), fence = tonumber(m[6]), run = m[7], bytes = tonumber(m[8]),
    leaving = m[9],
  }
end

local function save(s)
  redis.call('HSET', meta, 'epoch', s.epoch, 'head', whole(s.head), 'base', whole(s.base),
    'trimmed', whole(s.trimmed), 'synced', whole(s.synced), 'fence', whole(s.fence), 'run', s.run,
    'bytes', whole(s.bytes))
end

local function size_of(from, to)
  local total = 0
  for _, entry in ipairs(redis.call('XRANGE', window, id(from), id(to))) do
    total = total + #entry[2][2]
  end
  return total
end

-- Let go of the events up to `through`.
local function drop(s, through)
  if through <= s.base then
    return
  end
  s.bytes = s.bytes - size_of(s.base + 1, through)
  redis.call('XTRIM', window, 'MINID', id(through + 1))
  local first = redis.call('LINDEX', counted, 0)
  while first and tonumber(first) <= through do
    redis.call('LPOP', counted)
    first = redis.call('LINDEX', counted, 0)
  end
  s.base = through
end

-- Let go of the oldest synchronised events beyond the limits.
local function shrink(s, messages, events, bytes)
  while s.base < s.synced do
    local through
    local over = redis.call('LLEN', counted) - messages
    if over > 0 then
      through = tonumber(redis.call('LINDEX', counted, over - 1))
    elseif s.head - s.base > events then
      through = s.head - events
    elseif s.bytes > bytes then
      through = s.base + 1
    else
      return
    end
    drop(s, math.min(through, s.synced))
  end
end

-- The archive holds everything up to `through`.
local function synced(s, through)
  if through <= s.synced then
    return
  end
  redis.call('HINCRBY', totals, 'events', whole(s.synced - through))
  redis.call('HINCRBY', totals, 'bytes', whole(-size_of(s.synced + 1, through)))
  s.synced = through
end

local function note(key, value)
  redis.call('HSET', receipts, key, value)
  redis.call('RPUSH', queue, key)
end

local function receipt_time(value)
  return tonumber(string.match(value, '^%S+ %d+ %d+ (%d+) ') or '0')
end

-- Forget a few receipts that are too old, so that a stream never pays for many at once.
local function forget(now)
  for _ = 1, 4 do
    local key = redis.call('LINDEX', queue, 0)
    if not key then
      return
    end
    local value = redis.call('HGET', receipts, key)
    if value and receipt_time(value) > now - RECEIPT_MS then
      return
    end
    redis.call('LPOP', queue)
    redis.call('HDEL', receipts, key)
  end
end
