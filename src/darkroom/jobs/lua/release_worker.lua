-- release_worker: a worker is known to be dead; its jobs return at once, charged with the death only if it had one.
-- Its report is forgotten, unless it is its goodbye. ARGV: now, worker, reason. Returns ids.

local report = call('HGET', P .. 'reports', ARGV[3])
if not (report and cjson.decode(report).state == 'stopped') then
  call('ZREM', P .. 'workers', ARGV[3])
  call('HDEL', P .. 'reports', ARGV[3])
end
call('HDEL', P .. 'holds', ARGV[3])
call('SREM', P .. 'draining', ARGV[3])
local ids = call('SMEMBERS', P .. 'held:' .. ARGV[3])
table.sort(ids)
for _, id in ipairs(ids) do
  local job = row(id)
  lose(job, #ids == 1 and not job.company, ARGV[2], ARGV[4])
end
return ids
