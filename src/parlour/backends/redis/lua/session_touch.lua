-- KEYS: session, sessions. ARGV: id, at. Never goes back, and never brings a deleted session back.
local seen = redis.call('HGET', KEYS[1], 'last_seen')
if not seen or tonumber(seen) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('HSET', KEYS[1], 'last_seen', ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
return 1
