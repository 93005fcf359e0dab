-- release: running -> queued at the old rank, the attempt not charged.
-- ARGV: now, reason, then of each: id, fence, how many words its metrics have ('': they stay), and those, name by name.
-- Returns how many went back.

local at, released = 4, 0
while at <= #ARGV do
  local job, words = held(ARGV[at], ARGV[at + 1]), tonumber(ARGV[at + 2])
  if job then
    if words then put_metrics(job, at + 3, at + 2 + words) end
    if not job.cancelling then uncharge(job) end
    requeue(job, ARGV[2], ARGV[3])
    released = released + 1
  end
  at = at + 3 + (words or 0)
end
return released
