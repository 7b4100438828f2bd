-- KEYS: lease (hash: owner, generation, expires). ARGV: owner, ttl (ms).
-- Gives {generation, expires} or {} while another one holds it.
-- A lease that is not known starts its generations at the server's time in seconds, so that they go on
-- rising when Redis has lost its data: a generation is the fence of streams that outlive Redis.
local time = redis.call('TIME')
local seconds = tonumber(time[1])
local now = seconds * 1000 + math.floor(tonumber(time[2]) / 1000)
local held = redis.call('HMGET', KEYS[1], 'owner', 'generation', 'expires')
local generation = tonumber(held[2])
if generation and tonumber(held[3]) > now then
  if held[1] ~= ARGV[1] then
    return {}
  end
else
  generation = generation and generation + 1 or seconds
end
local expires = now + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'generation', string.format('%.0f', generation),
  'expires', string.format('%.0f', expires))
-- A week after its last use the name is forgotten; by then the time is past any generation it reached.
redis.call('PEXPIREAT', KEYS[1], string.format('%.0f', expires + 604800000))
return {string.format('%.0f', generation), string.format('%.0f', expires)}
