-- prune_uploads: forgets the oldest uploads that no live job needs, until artifacts take no more than so many bytes.
--
-- ARGV: bytes, before when they came, how many to pass over (live jobs need them), how many to look at, how many to
-- forget at most. Returns {whether that was all, those passed over, the artifacts as JSON}.

local most, look, room = tonumber(ARGV[2]), tonumber(ARGV[5]), tonumber(ARGV[6])
local removed, kept = {}, 0
local ids = call('ZRANGEBYSCORE', P .. 'uploads', '-inf', '(' .. ARGV[3], 'LIMIT', ARGV[4], look)
for _, id in ipairs(ids) do
  if stored_bytes() <= most or #removed >= room then return { 1, kept, removed } end
  kept = kept + forget_upload(id, removed)
end
return { #ids < look and 1 or 0, kept, removed }
