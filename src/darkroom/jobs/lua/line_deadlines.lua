-- line_deadlines: the earliest deadlines of queued jobs. ARGV: how many to look at, with those of scheduled ones.
-- Returns for each {model, class's step, deadline, predicted microseconds}.

local dues, found = call('ZRANGE', P .. 'deadlines', 0, tonumber(ARGV[2]) - 1, 'WITHSCORES'), {}
for i = 1, #dues, 2 do
  local job = call('HMGET', P .. 'job:' .. dues[i], 'state', 'model', 'priority', 'cost_us')
  if job[1] == 'queued' then found[#found + 1] = { job[2], class_of(job[3]), dues[i + 1], job[4] } end
end
return found
