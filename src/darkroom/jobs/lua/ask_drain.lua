-- ask_drain: marks a worker that is known. ARGV: worker. Returns 1, or 0 where it is unknown.

if not call('ZSCORE', P .. 'workers', ARGV[2]) then return 0 end
call('SADD', P .. 'draining', ARGV[2])
return 1
