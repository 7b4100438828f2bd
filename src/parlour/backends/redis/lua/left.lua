-- uses stream.lua
-- ARGV: stream, epoch, head, go. Second half of an eviction: gone, or staying after all. Gives 1 when gone.
local s = load()
if not s or not s.leaving or s.epoch ~= ARGV[2] or whole(s.head) ~= ARGV[3] then
  return 0
end
if ARGV[4] ~= '1' then
  redis.call('HDEL', meta, 'leaving')
  return 0
end
redis.call('DEL', window, meta, receipts, queue, counted)
redis.call('ZREM', active, ARGV[1])
redis.call('ZREM', dirty, ARGV[1])
return 1
