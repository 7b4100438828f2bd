-- uses stream.lua
-- ARGV: run, epoch (or nothing), offset, limit
-- Gives {'ok', epoch, head, start, records} | {'lost'} | {'absent'} | {'changed', epoch, head}
local s = load()
if not s then
  return {'absent'}
end
if s.run ~= ARGV[1] then
  return {'changed', s.epoch, whole(s.head)}
end
local floor = math.max(s.base, s.trimmed)
local start = floor
if ARGV[2] ~= '' then
  start = tonumber(ARGV[3])
  if ARGV[2] ~= s.epoch or start < floor or start > s.head then
    return {'lost'}
  end
end
local records = {}
if tonumber(ARGV[4]) > 0 and start < s.head then
  for n, entry in ipairs(redis.call('XRANGE', window, id(start + 1), id(s.head), 'COUNT', ARGV[4])) do
    records[n] = entry[2][2]
  end
end
return {'ok', s.epoch, whole(s.head), whole(start), records}
