-- KEYS: models, model. ARGV: model's name, session, time to live (ms). Never shortens an entry.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local till = string.format('%.0f', now + tonumber(ARGV[3]))
redis.call('ZADD', KEYS[2], 'GT', till, ARGV[2])
redis.call('ZADD', KEYS[1], 'GT', till, ARGV[1])
return 1
