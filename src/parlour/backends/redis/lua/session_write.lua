-- KEYS: session, values. ARGV: count of deleted fields, deleted fields..., (field, value)...
-- Gives 0 where the session is gone.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local gone = tonumber(ARGV[1])
for n = 2, 1 + gone do
  redis.call('HDEL', KEYS[2], ARGV[n])
end
for n = 2 + gone, #ARGV, 2 do
  redis.call('HSET', KEYS[2], ARGV[n], ARGV[n + 1])
end
return 1
