-- KEYS: lease. ARGV: owner, generation, ttl (ms; 0 gives it up). Compare, then act.
-- Gives {expires} or {} when this generation does not hold it any more.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local held = redis.call('HMGET', KEYS[1], 'owner', 'generation', 'expires')
if held[1] ~= ARGV[1] or held[2] ~= ARGV[2] or tonumber(held[3]) <= now then
  return {}
end
local expires = tonumber(ARGV[3]) > 0 and now + tonumber(ARGV[3]) or 0
redis.call('HSET', KEYS[1], 'expires', string.format('%.0f', expires))
return {string.format('%.0f', expires)}
