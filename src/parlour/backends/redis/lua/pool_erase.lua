-- KEYS: a hash of entries. ARGV: sid, generation. Compare, then erase. Gives 1 where it was there.
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held or string.match(held, '^(%d+) ') ~= ARGV[2] then
  return 0
end
return redis.call('HDEL', KEYS[1], ARGV[1])
