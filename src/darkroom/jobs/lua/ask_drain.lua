-- ask_drain: marks a worker that is known and has not stopped. ARGV: worker. Returns 1, or 0 where there is none.

if not call('ZSCORE', P .. 'workers', ARGV[2]) then return 0 end
local report = call('HGET', P .. 'reports', ARGV[2])
if report and cjson.decode(report).state == 'stopped' then return 0 end
call('SADD', P .. 'draining', ARGV[2])
return 1
