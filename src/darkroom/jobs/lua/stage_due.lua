-- stage_due: scheduled -> queued, for the jobs whose time has come.
-- ARGV: now, at most how many. Returns how many.

local now = ARGV[2]
local due = call('ZRANGEBYSCORE', P .. 'scheduled', '-inf', now, 'LIMIT', 0, ARGV[3])
for _, id in ipairs(due) do
  local job = row(id)
  leave(job)
  enter_queue(job, now)
  emit(id, now, 'queued', '{}')
end
return #due
