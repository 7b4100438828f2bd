-- KEYS: meta, used index. ARGV: name, generation, epoch, offset, base, log bytes, snapshot bytes,
-- run id.
-- Takes a document up from the lasting store, unless it is here.
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
if redis.call('HSETNX', KEYS[1], 'generation', ARGV[2]) == 1 then
  redis.call('HSET', KEYS[1], 'epoch', ARGV[3], 'offset', ARGV[4], 'settled', ARGV[4],
    'base', ARGV[5], 'log', ARGV[6], 'snapshot', ARGV[7], 'held', 0, 'run', ARGV[8])
end
redis.call('ZADD', KEYS[2], now, ARGV[1])
return 1
