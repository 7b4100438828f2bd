-- KEYS: meta, updates, dirty index.
-- ARGV: name, epoch, settled through (in that epoch), the lasting store's epoch, its head, its base,
-- its log bytes, its snapshot bytes. Forgets what the lasting store has; its numbers hold from now on.
local meta = redis.call('HMGET', KEYS[1], 'epoch', 'settled')
if not meta[1] or meta[1] ~= ARGV[2] then
  return 0
end
local moved = tonumber(ARGV[3]) - tonumber(meta[2])
if moved < 0 then
  return 0
end
for _ = 1, moved do
  local update = redis.call('LPOP', KEYS[2])
  if update then
    redis.call('HINCRBY', KEYS[1], 'held', -#update)
  end
end
local left = redis.call('LLEN', KEYS[2])
redis.call('HSET', KEYS[1], 'epoch', ARGV[4], 'settled', ARGV[5],
  'offset', string.format('%.0f', tonumber(ARGV[5]) + left),
  'base', ARGV[6], 'log', ARGV[7], 'snapshot', ARGV[8])
if left == 0 then
  redis.call('ZREM', KEYS[3], ARGV[1])
end
return 1
