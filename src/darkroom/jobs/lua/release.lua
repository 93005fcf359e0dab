-- release: running -> queued at the old rank, the attempt not charged. ARGV: now, reason, then id and fence of each.
-- Returns how many went back.

local released = 0
for i = 4, #ARGV, 2 do
  local job = held(ARGV[i], ARGV[i + 1])
  if job then
    if not job.cancelling then uncharge(job) end
    requeue(job, ARGV[2], ARGV[3])
    released = released + 1
  end
end
return released
