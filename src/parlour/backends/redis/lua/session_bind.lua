-- KEYS: session, sessions. ARGV: id, user, last seen, count of new fields, new fields..., all fields...
-- The first one to come makes the session; later ones set the fields that they bring anew.
-- Gives the session as a flat list, or {} where it belongs to another user.
local owner = redis.call('HGET', KEYS[1], 'user_id')
if owner and owner ~= ARGV[2] then
  return {}
end
local fresh = tonumber(ARGV[4])
local first, last = 5, 4 + fresh
if not owner then
  first, last = 5 + fresh, #ARGV
end
for n = first, last, 2 do
  redis.call('HSET', KEYS[1], ARGV[n], ARGV[n + 1])
end
local seen = tonumber(redis.call('HGET', KEYS[1], 'last_seen') or '0')
if tonumber(ARGV[3]) >= seen then
  redis.call('HSET', KEYS[1], 'last_seen', ARGV[3])
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
end
return redis.call('HGETALL', KEYS[1])
