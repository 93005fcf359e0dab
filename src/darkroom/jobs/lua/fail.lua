-- fail: running -> failed, or -> scheduled while attempts are left. Repeating it with the same token gives the job.
-- ARGV: now, id, fence, token, error as JSON, its code, retry_at ('': never), then metrics name by name.
-- Returns the row, or false where the lease is lost.

local now, token, fault, retry_at = ARGV[2], ARGV[5], ARGV[6], ARGV[8]
local job = held(ARGV[3], ARGV[4])
if not job then return ended_by(token, ARGV[3]) end
put(job, 'ended_by', token)
put_metrics(job, 9)
if retry_at == '' or tonumber(job.attempt) >= tonumber(job.max_attempts) then
  finish_failed(job, now, fault)
elseif job.cancelling then
  append_error(job, fault)
  finish(job, 'cancelled', now, '{}')
else
  append_error(job, fault)
  leave(job)
  enter_schedule(job, now, retry_at)
  emit(job.id, now, 'requeued', '{"reason":' .. cjson.encode(ARGV[7]) .. '}')
end
return whole_row(job.id)
