-- confirm_cancelled: running -> cancelled, said by its worker. Repeating it with the same token gives the job.
-- ARGV: now, id, fence, token, then metrics name by name. Returns the row, or false where the lease is lost.

local job = held(ARGV[3], ARGV[4])
if not job then return ended_by(ARGV[5], ARGV[3]) end
put(job, 'ended_by', ARGV[5])
put_metrics(job, 6)
finish(job, 'cancelled', ARGV[2], '{}')
return whole_row(job.id)
