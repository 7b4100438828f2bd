-- KEYS: models, model. ARGV: model's name, session. The last one to go takes the model along.
redis.call('ZREM', KEYS[2], ARGV[2])
local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
if last[1] then
  redis.call('ZADD', KEYS[1], last[2], ARGV[1])
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return 1
