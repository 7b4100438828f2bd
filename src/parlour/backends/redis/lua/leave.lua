-- uses stream.lua
-- ARGV: stream, idle since at least (ms), grace (ms). First half of an eviction: from here on appends wait.
-- Gives {epoch, head} or {}.
local s = load()
local now = now_ms()
local last = tonumber(redis.call('ZSCORE', active, ARGV[1]) or '0')
if not s then
  redis.call('ZREM', active, ARGV[1])
  return {}
end
if s.synced < s.head or last > now - tonumber(ARGV[2]) then
  return {}
end
redis.call('HSET', meta, 'leaving', whole(now + tonumber(ARGV[3])))
return {s.epoch, whole(s.head)}
