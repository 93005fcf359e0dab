-- add_key: an API key. Repeating it with the same token is the same as once.
-- ARGV: id, created_at, JSON, revoked_at ('': never), token. Returns 1, or 0 where the id is another's.

local key = P .. 'key:' .. ARGV[2]
local made_by = call('HGET', key, 'token')
if made_by then return made_by == ARGV[6] and 1 or 0 end
call('HSET', key, 'key', ARGV[4], 'token', ARGV[6])
if ARGV[5] ~= '' then call('HSET', key, 'revoked_at', ARGV[5]) end
call('ZADD', P .. 'keys', ARGV[3], ARGV[2])
return 1
