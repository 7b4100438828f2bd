-- KEYS: lease. Gives {owner, generation, expires} or {} when nobody holds it.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local held = redis.call('HMGET', KEYS[1], 'owner', 'generation', 'expires')
if not held[1] or tonumber(held[3]) <= now then
  return {}
end
return held
