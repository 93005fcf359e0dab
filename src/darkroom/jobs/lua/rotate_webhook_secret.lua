-- rotate_webhook_secret: the number after the one that is known; another one stays. ARGV: tenant, number known, now.
-- Returns {number, when}.

local key = P .. 'webhook_secret:' .. ARGV[2]
if tonumber(call('HGET', key, 'number') or 0) == tonumber(ARGV[3]) then
  call('HSET', key, 'number', whole(ARGV[3] + 1), 'rotated_at', ARGV[4])
end
return call('HMGET', key, 'number', 'rotated_at')
