-- revoke_key: the first time stays. ARGV: id, now. Returns {JSON, revoked_at}, or false where there is none.

local key = P .. 'key:' .. ARGV[2]
if call('EXISTS', key) == 0 then return false end
call('HSETNX', key, 'revoked_at', ARGV[3])
return call('HMGET', key, 'key', 'revoked_at')
