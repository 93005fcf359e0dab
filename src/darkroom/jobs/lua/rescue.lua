-- rescue: returns the jobs whose lease ran out; what is charged depends on whether they were alone (release_worker).
-- ARGV: now, at most how many, lease_s. Returns ids.
--
-- A lease that ends further ahead than a clock could have given it was given by one that has gone back: it is cut.
-- A dead worker's leases need not end together. So the first to end counts those the worker still holds, and leaves a
-- mark on these that they were in company; a heartbeat takes the mark away. What a forwarder held ran elsewhere: it is
-- charged with nothing.

local now, lease_s = ARGV[2], tonumber(ARGV[4])
local lease_until = text(tonumber(now) + lease_s)
for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'running', '(' .. text(tonumber(now) + 2 * lease_s), '+inf')) do
  put({ id = id }, 'lease_until', lease_until)
  call('ZADD', P .. 'running', lease_until, id)
end
local ids = call('ZRANGEBYSCORE', P .. 'running', '-inf', now, 'LIMIT', 0, ARGV[3])
local jobs, in_flight, elsewhere = {}, {}, {}
for i, id in ipairs(ids) do
  jobs[i] = row(id)
  local worker = jobs[i].worker
  in_flight[worker] = call('SCARD', P .. 'held:' .. worker)
  local report = call('HGET', P .. 'reports', worker)
  elsewhere[worker] = report and cjson.decode(report).facts.kind == 'forwarder'
end
for _, job in ipairs(jobs) do
  if elsewhere[job.worker] then
    if not job.cancelling then uncharge(job) end
    requeue(job, now, 'lease_lost')
  else
    lose(job, in_flight[job.worker] == 1 and not job.company, now, 'lease_lost')
  end
end
for worker in pairs(in_flight) do
  for _, id in ipairs(call('SMEMBERS', P .. 'held:' .. worker)) do put({ id = id }, 'company', '1') end
end
return ids
