-- expire: queued or scheduled -> failed, for the jobs whose deadline has passed.
-- ARGV: now, at most how many, the error as JSON. Returns ids.

local ids = call('ZRANGEBYSCORE', P .. 'deadlines', '-inf', ARGV[2], 'LIMIT', 0, ARGV[3])
for _, id in ipairs(ids) do finish_failed(row(id), ARGV[2], ARGV[4]) end
return ids
