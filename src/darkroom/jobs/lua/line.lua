-- line: a part of the queue of one model and class. ARGV: model, class's step, how many to pass over, how many to look at.
-- Returns {jobs, predicted microseconds, when the oldest was queued (or false)}.

local model, from = ARGV[2], level(ARGV[3])
local key, since, first = P .. 'queue:' .. model, P .. 'since:' .. model, '[' .. from
local behind = '(' .. string.sub(from, 1, 13) .. ';'
local places = call('ZRANGEBYLEX', key, first, behind, 'LIMIT', ARGV[4], ARGV[5])
local cost_us, oldest = 0, false
for _, place in ipairs(places) do cost_us = cost_us + cost_at(place) end
if call('ZLEXCOUNT', key, first, behind) == call('ZCARD', key) then -- the model's only class
  oldest = call('ZRANGE', since, 0, 0, 'WITHSCORES')[2] or false
else
  for _, place in ipairs(places) do
    local at = call('ZSCORE', since, id_at(place))
    if not oldest or tonumber(at) < tonumber(oldest) then oldest = at end
  end
end
return { #places, whole(cost_us), oldest }
