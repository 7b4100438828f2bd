-- KEYS: meta, updates, fence, dirty index, used index.
-- ARGV: name, generation, limit of unsettled bytes, run id, epoch for a new life, update, ...
-- Gives {'ok', head ...}, {'missing'}, {'fenced'}, {'stale', generation} or {'full'}.
if redis.call('EXISTS', KEYS[3]) == 1 then
  return {'fenced'}
end
local meta = redis.call('HMGET', KEYS[1], 'generation', 'held')
if not meta[1] then
  return {'missing'}
end
if meta[1] ~= ARGV[2] then
  return {'stale', meta[1]}
end
-- Redis may have lost its newest data when it started again, or when a replica took over: then it
-- answers under another run id, and what it numbers from now on is of another epoch.
if ARGV[4] ~= '' and redis.call('HGET', KEYS[1], 'run') ~= ARGV[4] then
  redis.call('HSET', KEYS[1], 'run', ARGV[4], 'epoch', ARGV[5])
end
local size = 0
for at = 6, #ARGV do
  size = size + #ARGV[at]
end
if tonumber(meta[2]) + size > tonumber(ARGV[3]) then
  return {'full'}
end
for at = 6, #ARGV do
  redis.call('RPUSH', KEYS[2], ARGV[at])
end
redis.call('HINCRBY', KEYS[1], 'held', size)
redis.call('HINCRBY', KEYS[1], 'offset', #ARGV - 5)
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
redis.call('ZADD', KEYS[4], 'NX', now, ARGV[1])
redis.call('ZADD', KEYS[5], now, ARGV[1])
local head = redis.call('HMGET', KEYS[1], 'generation', 'epoch', 'offset', 'base', 'log', 'held',
  'snapshot', 'settled')
return {'ok', unpack(head)}
