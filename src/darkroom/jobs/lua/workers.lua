-- workers: the last report of each worker heard of since then. ARGV: since. Returns reports as JSON.

local reports = {}
for i, id in ipairs(call('ZRANGEBYSCORE', P .. 'workers', ARGV[2], '+inf')) do
  reports[i] = call('HGET', P .. 'reports', id)
end
return reports
