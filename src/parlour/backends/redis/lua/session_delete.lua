-- KEYS: session, values, sessions. ARGV: id. Gives 1 to the one caller that removed it.
redis.call('DEL', KEYS[2])
redis.call('ZREM', KEYS[3], ARGV[1])
return redis.call('DEL', KEYS[1])
