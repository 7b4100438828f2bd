-- uses stream.lua
-- ARGV: stream, epoch, through, messages, events, bytes. The archive holds everything up to `through`.
local s = load()
if not s or s.epoch ~= ARGV[2] then
  return 0
end
synced(s, math.min(tonumber(ARGV[3]), s.head))
drop(s, math.min(s.trimmed, s.synced))
shrink(s, tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]))
save(s)
if s.synced >= s.head then
  redis.call('ZREM', dirty, ARGV[1])
else
  redis.call('ZADD', dirty, now_ms(), ARGV[1])
end
return 1
