-- prune_bytes: forgets the final jobs with artifacts that ended first, until artifacts take no more than so many bytes.
--
-- ARGV: bytes, how many final jobs to pass over (they hold none), how many to look at, how many to forget at most.
-- Returns {whether that was all, those passed over, those forgotten, the artifacts as JSON}.

local most, from, look, room = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local removed, kept, gone = {}, 0, 0
local ids = call('ZRANGE', P .. 'finished', from, from + look - 1)
for _, id in ipairs(ids) do
  if stored_bytes() <= most or gone == room then return { 1, kept, gone, removed } end
  if (call('HGET', P .. 'job:' .. id, 'outputs') or '') == '' then
    kept = kept + 1
  else
    forget(id, removed)
    gone = gone + 1
  end
end
return { #ids < look and 1 or 0, kept, gone, removed }
