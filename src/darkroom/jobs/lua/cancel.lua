-- cancel: scheduled or queued -> cancelled; a running job is marked for its worker; a final one stays.
-- ARGV: now, id. Returns the row, empty where there is none.

local job = row(ARGV[3])
if job and (job.state == 'queued' or job.state == 'scheduled') then
  finish(job, 'cancelled', ARGV[2], '{}')
elseif job and job.state == 'running' and not job.cancelling then
  put(job, 'cancelling', '1')
  call('SADD', P .. 'cancelling:' .. job.worker, job.id)
  wake()
end
return whole_row(ARGV[3])
