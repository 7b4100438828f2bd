-- uses stream.lua
-- ARGV: run, stream, verb, channel, behind, expected, fence, keyed, key, receipt,
--       messages, events, bytes, unsynced events, unsynced bytes, counted flags, records...
-- Gives {'ok', epoch, first, last} | {'known', receipt} | {'absent'} | {'changed', epoch, head}
--       | {'leaving', until} | {'fenced'} | {'expected', head} | {'full'}
local run, stream, verb, channel, behind = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'
local s = load()
if not s then
  return {'absent'}
end
if s.run ~= run then
  return {'changed', s.epoch, whole(s.head)}
end
local now = now_ms()
if s.leaving and tonumber(s.leaving) > now then
  return {'leaving'}
elseif s.leaving then
  return {'absent'}
end
if ARGV[8] == '1' then
  local known = redis.call('HGET', receipts, ARGV[9])
  if known and receipt_time(known) > now - RECEIPT_MS then
    return {'known', known}
  end
end
local fence = tonumber(ARGV[7])
if fence and fence < s.fence then
  return {'fenced'}
end
if ARGV[6] ~= '' and tonumber(ARGV[6]) ~= s.head then
  return {'expected', whole(s.head)}
end

local count, size = #ARGV - 16, 0
for n = 1, count do
  size = size + #ARGV[16 + n]
end
if behind then
  local held = redis.call('HMGET', totals, 'events', 'bytes')
  if (tonumber(held[1]) or 0) + count > tonumber(ARGV[14])
    or (tonumber(held[2]) or 0) + size > tonumber(ARGV[15]) then
    return {'full'}
  end
  redis.call('HINCRBY', totals, 'events', count)
  redis.call('HINCRBY', totals, 'bytes', size)
  redis.call('ZADD', dirty, 'NX', now, stream)
end

local since = s.head
local news = {s.epoch, ' ', whole(since), '\n'}
for n = 1, count do
  local record = ARGV[16 + n]
  s.head = s.head + 1
  if n < count then
    redis.call('XADD', window, id(s.head), 'd', record)
  elseif ARGV[8] == '1' then
    redis.call('XADD', window, id(s.head), 'd', record, 'e', ARGV[7], 'k', ARGV[9])
  else
    redis.call('XADD', window, id(s.head), 'd', record, 'e', ARGV[7])
  end
  if string.sub(ARGV[16], n, n) == '1' then
    redis.call('RPUSH', counted, whole(s.head))
  end
  news[#news + 1] = struct.pack('>I4', #record)
  news[#news + 1] = record
end
s.bytes = s.bytes + size
s.fence = math.max(s.fence, fence or 0)
if not behind then
  s.synced = s.head
end
if ARGV[8] == '1' then
  local numbers = s.epoch .. ' ' .. whole(since + 1) .. ' ' .. whole(s.head) .. ' ' .. whole(now)
  forget(now)
  note(ARGV[9], numbers .. ' ' .. ARGV[10])
end
shrink(s, tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13]))
save(s)
redis.call('ZADD', active, now, stream)
redis.call(verb, channel, table.concat(news))
return {'ok', s.epoch, whole(since + 1), whole(s.head)}
