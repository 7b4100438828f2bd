-- KEYS: a hash of entries. ARGV: sid, generation, at. Raises the time at which a connection was last
-- seen; what is gone or was registered anew stays as it is. Gives 1 where it is there.
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held then
  return 0
end
local generation, seen, rest = string.match(held, '^(%d+) (%d+) (.*)$')
if generation ~= ARGV[2] then
  return 0
end
if tonumber(seen) < tonumber(ARGV[3]) then
  redis.call('HSET', KEYS[1], ARGV[1], generation .. ' ' .. ARGV[3] .. ' ' .. rest)
end
return 1
