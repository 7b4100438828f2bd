-- uses stream.lua
-- ARGV: through. Readers never get these again; what the archive lacks of them is still held for it.
local s = load()
if not s then
  return 'absent'
end
s.trimmed = math.max(s.trimmed, math.min(tonumber(ARGV[1]), s.head))
drop(s, math.min(s.trimmed, s.synced))
save(s)
return 'ok'
