-- KEYS: active. ARGV: stream. Activity pushes the expiry back, of streams that are held.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return redis.call('ZADD', KEYS[1], 'XX', now, ARGV[1])
