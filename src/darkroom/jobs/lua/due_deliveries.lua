-- due_deliveries: webhook calls whose time has come, held for who asks. Repeating it with the same token gives the same.
-- ARGV: now, at most how many, until when they are held, token. Returns rows.

local now, limit, held_until, token = ARGV[2], tonumber(ARGV[3]), ARGV[4], P .. 'sending:' .. ARGV[5]
local ids = {}
local before = call('GET', token)
if before then
  for id in string.gmatch(before, '[^\n]+') do ids[#ids + 1] = id end
elseif limit > 0 then
  ids = call('ZRANGEBYSCORE', P .. 'due', '-inf', now, 'LIMIT', 0, limit)
  if #ids > 0 then call('SET', token, table.concat(ids, '\n'), 'EX', 60) end
end
local rows = {}
for _, id in ipairs(ids) do
  local delivery = P .. 'delivery:' .. id
  if not before then
    call('HSET', delivery, 'due_at', held_until)
    call('ZADD', P .. 'due', held_until, id)
  end
  if call('EXISTS', delivery) == 1 then rows[#rows + 1] = call('HGETALL', delivery) end
end
return rows
