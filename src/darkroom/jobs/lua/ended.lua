-- ended: rows of jobs that ended since then, those that ended last first.
-- ARGV: since, how many to pass over, how many at most. Returns rows.

local rows = {}
for i, id in ipairs(call('ZREVRANGEBYSCORE', P .. 'finished', '+inf', ARGV[2], 'LIMIT', ARGV[3], ARGV[4])) do
  rows[i] = whole_row(id)
end
return rows
