-- uses stream.lua
-- ARGV: run, stream, verb, channel, epoch, offset, fence, (key, "epoch first last", receipt)...
-- Makes the stream held as the archive says it goes on, or renews what is held. Where two nodes come at
-- once, the newer epoch (its counter is higher) wins in whatever order they arrive.
local run, stream, verb, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local epoch, offset, fence = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])

local function order(name)
  return tonumber(string.match(name, '^(%d+)%-') or '0')
end

local s = load()
if s and order(epoch) < order(s.epoch) then
  return 'older'
end
if s and order(epoch) == order(s.epoch) and s.run == run and not s.leaving and s.head >= offset then
  return 'held'
end
local renewed = s and s.epoch ~= epoch
if not s then
  s = {head = offset, base = offset, trimmed = 0, synced = offset, fence = 0, bytes = 0}
elseif s.head < offset then
  -- What is held is an older copy than the archive's: nothing of it can be trusted to go on.
  synced(s, s.head)
  redis.call('DEL', window, counted)
  s.head, s.base, s.synced, s.bytes = offset, offset, offset, 0
else
  synced(s, offset)
end
s.epoch, s.run, s.fence = epoch, run, math.max(s.fence, fence)
save(s)
redis.call('HDEL', meta, 'leaving')
local now = now_ms()
for n = 8, #ARGV, 3 do
  if redis.call('HEXISTS', receipts, ARGV[n]) == 0 then
    note(ARGV[n], ARGV[n + 1] .. ' ' .. whole(now) .. ' ' .. ARGV[n + 2])
  end
end
if s.synced >= s.head then
  redis.call('ZREM', dirty, stream)
end
redis.call('ZADD', active, now, stream)
if renewed then
  redis.call(verb, channel, epoch .. ' ' .. whole(s.head) .. '\n')
end
return 'opened'
