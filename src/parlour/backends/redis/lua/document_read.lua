-- KEYS: meta, updates, used index. ARGV: name, after, limit, whether this is a use, run id,
-- epoch for a new life.
-- Gives {'ok', head ..., update, ...} with the updates after `after` that are here, or {'missing'}.
-- Redis may have lost its newest data when it started again, or when a replica took over: then it
-- answers under another run id, and what it numbers from now on is of another epoch.
if ARGV[5] ~= '' and redis.call('EXISTS', KEYS[1]) == 1
  and redis.call('HGET', KEYS[1], 'run') ~= ARGV[5] then
  redis.call('HSET', KEYS[1], 'run', ARGV[5], 'epoch', ARGV[6])
end
local head = redis.call('HMGET', KEYS[1], 'generation', 'epoch', 'offset', 'base', 'log', 'held',
  'snapshot', 'settled')
if not head[1] then
  return {'missing'}
end
if ARGV[4] == '1' then
  local time = redis.call('TIME')
  local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
  redis.call('ZADD', KEYS[3], now, ARGV[1])
end
local answer = {'ok', unpack(head)}
local first = tonumber(ARGV[2]) - tonumber(head[8])
local limit = tonumber(ARGV[3])
if first >= 0 and limit > 0 then
  for _, update in ipairs(redis.call('LRANGE', KEYS[2], first, first + limit - 1)) do
    answer[#answer + 1] = update
  end
end
return answer
