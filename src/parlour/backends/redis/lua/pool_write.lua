-- KEYS: a hash of entries. ARGV: sid, value ("generation last_seen rest"). Replaces an older
-- generation, never a newer one.
local held = redis.call('HGET', KEYS[1], ARGV[1])
local function generation(value)
  return tonumber(string.match(value, '^(%d+) '))
end
if held and generation(held) > generation(ARGV[2]) then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
