-- note_delivery: an attempt of a webhook call. Repeating it with the same token is the same as once.
-- ARGV: id, attempt as JSON, when the next is made ('': never), whether it arrived ('1'), token, attempts kept.
-- Returns the row, empty where there is none.

local id, next_at, token = ARGV[2], ARGV[4], ARGV[6]
local delivery = P .. 'delivery:' .. id
local has = call('HMGET', delivery, 'state', 'attempts', 'token')
if not has[1] or has[3] == token then return call('HGETALL', delivery) end
local state = next_at == '' and 'given_up' or 'pending'
if ARGV[5] == '1' or has[1] == 'delivered' then state = 'delivered' end -- what has arrived stays so
local before = has[2] or ''
local _, count = string.gsub(before, '[^\n]+', '')
if count >= tonumber(ARGV[7]) then before = string.gsub(before, '^[^\n]+\n', '', 1) end
local attempts = before == '' and ARGV[3] or (before .. '\n' .. ARGV[3])
call('HSET', delivery, 'state', state, 'attempts', attempts, 'token', token)
if next_at ~= '' then call('HSET', delivery, 'due_at', next_at) end
if state == 'pending' then
  call('ZADD', P .. 'due', next_at, id)
else
  call('ZREM', P .. 'due', id)
end
return call('HGETALL', delivery)
