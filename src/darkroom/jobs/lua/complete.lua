-- complete: running -> succeeded, with the artifacts. Repeating it with the same token gives the job.
-- ARGV: now, id, fence, token, how many artifacts, for each its id, JSON and event, then metrics name by name.
-- Returns the row, or false where the lease is lost.

local now, token, count = ARGV[2], ARGV[5], tonumber(ARGV[6])
local job = held(ARGV[3], ARGV[4])
if not job then return ended_by(token, ARGV[3]) end
put(job, 'ended_by', token)
local lines = {}
for i = 1, count do
  local id, artifact, event = unpack(ARGV, 4 + 3 * i, 6 + 3 * i)
  keep_artifact(id, artifact)
  emit(job.id, now, 'output', event)
  lines[i] = artifact
end
if count > 0 then put(job, 'outputs', table.concat(lines, '\n')) end
put_metrics(job, 7 + 3 * count)
if count > 0 then charge(job, now, 'images', count) end
finish(job, 'succeeded', now, '{}')
return whole_row(job.id)
