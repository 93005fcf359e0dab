-- lead: who keeps the store; the first to ask, until it stops asking. ARGV: who, now, ttl_s, and `fleet` where it is
-- the fleet that is led. Returns 1 or 0.
--
-- A reign that ends further ahead than it could have been given was given by a clock that has gone back: it is over.

local who, now, ttl_s = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local key = ARGV[5] == 'fleet' and P .. 'fleet_leader' or P .. 'leader'
local leader = call('HMGET', key, 'who', 'until')
local left_s = (tonumber(leader[2]) or now) - now
if leader[1] ~= who and left_s > 0 and left_s <= 2 * ttl_s then return 0 end
call('HSET', key, 'who', who, 'until', text(now + ttl_s))
return 1
