-- position: how many queued jobs go before this one, and their predicted device microseconds. ARGV: id.
-- Returns {count, microseconds}, or false unless it is queued.

local job = row(ARGV[2])
if not job or job.state ~= 'queued' then return false end
local ahead = call('ZRANK', P .. 'order', job.place)
local cost_us = 0
for from = 0, ahead - 1, 1000 do
  for _, place in ipairs(call('ZRANGE', P .. 'order', from, math.min(from + 1000, ahead) - 1)) do
    cost_us = cost_us + cost_at(place)
  end
end
return { ahead, whole(cost_us) }
