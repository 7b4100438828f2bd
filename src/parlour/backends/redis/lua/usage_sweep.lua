-- KEYS: models. ARGV: what the key of a model begins with (same slot), most models at once.
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local swept = 0
for _, model in ipairs(redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[2]) - 1)) do
  swept = swept + redis.call('ZREMRANGEBYSCORE', ARGV[1] .. model, '-inf', now)
  if redis.call('EXISTS', ARGV[1] .. model) == 0 then
    redis.call('ZREM', KEYS[1], model)
  end
end
return swept
