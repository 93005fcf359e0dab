-- set_priority: another place in the order for a job that has not started; a later one stays.
-- ARGV: id, priority. Returns the row, empty where there is none.

local job = row(ARGV[2])
if job and (job.state == 'queued' or job.state == 'scheduled') then
  local before = job.place
  job.priority = ARGV[3]
  put(job, 'priority', job.priority)
  if before then put(job, 'place', place_of(job)) end -- one that was never queued gets its place then
  if job.state == 'queued' then
    for _, key in ipairs({ P .. 'order', P .. 'queue:' .. job.model }) do
      call('ZREM', key, before)
      call('ZADD', key, 0, place_of(job))
    end
    wake()
  end
end
return whole_row(ARGV[2])
