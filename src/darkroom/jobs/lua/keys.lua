-- keys: every API key, the oldest first. Returns for each {JSON, revoked_at (or false)}.

local found = {}
for i, id in ipairs(call('ZRANGE', P .. 'keys', 0, -1)) do
  found[i] = call('HMGET', P .. 'key:' .. id, 'key', 'revoked_at')
end
return found
