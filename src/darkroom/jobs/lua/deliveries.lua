-- deliveries: a job's webhook calls, the oldest first. ARGV: id of the job. Returns rows.

local rows = {}
for i, id in ipairs(call('LRANGE', P .. 'deliveries:' .. ARGV[2], 0, -1)) do
  rows[i] = call('HGETALL', P .. 'delivery:' .. id)
end
return rows
