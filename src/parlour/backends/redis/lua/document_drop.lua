-- KEYS: meta, updates, dirty index, used index. ARGV: name, newest use that is idle (ms), or nothing.
-- Forgets a document here: always, or only where it is settled and idle.
if ARGV[2] ~= '' then
  local used = redis.call('ZSCORE', KEYS[4], ARGV[1])
  if redis.call('EXISTS', KEYS[2]) == 1 or (used and tonumber(used) > tonumber(ARGV[2])) then
    return 0
  end
end
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
return 1
