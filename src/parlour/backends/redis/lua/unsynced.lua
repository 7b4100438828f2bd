-- uses stream.lua
-- ARGV: limit. Gives {epoch, first offset, {{record, ends, fence, key, receipt}...}}, whole appends only
-- as far as the archive lacks them; {} where there are none.
local s = load()
if not s or s.synced >= s.head then
  return {}
end
local limit, found = tonumber(ARGV[1]), {}
while true do
  local entries = redis.call('XRANGE', window, id(s.synced + 1 + #found), id(s.head), 'COUNT', limit)
  for _, entry in ipairs(entries) do
    local fields = entry[2]
    local ends = fields[3] == 'e'
    local key, receipt = fields[6] or '', ''
    if fields[5] == 'k' then
      receipt = redis.call('HGET', receipts, key) or ''
    end
    found[#found + 1] = {fields[2], ends and 1 or 0, fields[4] or '', key, receipt}
    if ends and #found >= limit then
      return {s.epoch, whole(s.synced + 1), found}
    end
  end
  if #entries == 0 or s.synced + #found >= s.head then
    return {s.epoch, whole(s.synced + 1), found}
  end
end
