-- upgrade: layout 1 -> 2, a part at a time: what is queued gets its place by class, and stands in its tenant's own line.
-- How far it has come is kept, so any number of processes may do it together, and each may stop in its middle.
-- ARGV: at most how many jobs. Returns whether there are more.

if call('GET', P .. 'layout') ~= '1' then return 0 end
local from, most = tonumber(call('GET', P .. 'upgraded') or '0'), tonumber(ARGV[2])
if from == 0 then
  for _, tenant in ipairs(call('ZRANGE', P .. 'finish', 0, -1)) do call('DEL', P .. 'line:' .. tenant) end
end
local ids = call('ZRANGE', P .. 'queue', from, from + most - 1)
for _, id in ipairs(ids) do
  local job = row(id)
  leave_lines(job)
  set_rank(job, job.rank)
  enter_lines(job)
end
if #ids == most then
  call('SET', P .. 'upgraded', whole(from + most))
  return 1
end
call('DEL', P .. 'upgraded')
call('SET', P .. 'layout', '2')
return 0
