-- delete: forgets a final job with its events. ARGV: id.
-- Returns its artifacts as JSON (none where there is no such job), or false where it has not ended.

local removed = {}
local state = call('HGET', P .. 'job:' .. ARGV[2], 'state')
if not state then return removed end
if not call('ZSCORE', P .. 'finished', ARGV[2]) then return false end
forget(ARGV[2], removed)
return removed
