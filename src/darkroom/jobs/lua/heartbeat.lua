-- heartbeat: a worker's report, where its time went, and its leases extended. One that has stopped owes no drain.
-- ARGV: now, lease_s, worker, report, what it has in memory (JSON, as routing.py says), of how many days it tells, for
-- each its number, which process, and JSON; then id and fence of each lease. Returns the numbers (from 1) of those lost.

local now, worker = ARGV[2], ARGV[4]
call('ZADD', P .. 'workers', now, worker)
call('HSET', P .. 'reports', worker, ARGV[5])
call('HSET', P .. 'holds', worker, ARGV[6])
if cjson.decode(ARGV[5]).state == 'stopped' then call('SREM', P .. 'draining', worker) end
local lease_until, lost = text(tonumber(now) + tonumber(ARGV[3])), {}
local first = 8 + 3 * tonumber(ARGV[7])
for i = 8, first - 1, 3 do
  call('HSET', P .. 'times:' .. ARGV[i], ARGV[i + 1], ARGV[i + 2])
  call('ZADD', P .. 'days', ARGV[i], ARGV[i])
end
for i = first, #ARGV, 2 do
  local job = held(ARGV[i], ARGV[i + 1])
  if job then
    put(job, 'lease_until', lease_until)
    call('ZADD', P .. 'running', lease_until, job.id)
    if job.company then call('HDEL', P .. 'job:' .. job.id, 'company') end -- its worker lives after all
  else
    lost[#lost + 1] = (i - first + 2) / 2
  end
end
return lost
