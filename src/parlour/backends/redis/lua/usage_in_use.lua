-- KEYS: models. ARGV: what the key of a model begins with (same slot). Gives {model, sessions, ...}.
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local found = {}
for _, model in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')) do
  found[#found + 1] = model
  found[#found + 1] = redis.call('ZCOUNT', ARGV[1] .. model, '(' .. now, '+inf')
end
return found
