-- positions: how many queued jobs go before each of these, and their predicted device microseconds. ARGV: ids.
-- Returns for each {count, microseconds}, or {} unless it is queued.

local CHUNK = 1000 -- places read at once

local function cost_between(from, to)
  local sum = 0
  for first = from, to - 1, CHUNK do
    for _, place in ipairs(call('ZRANGE', P .. 'order', first, math.min(first + CHUNK, to) - 1)) do
      sum = sum + cost_at(place)
    end
  end
  return sum
end

-- Sums are known at both ends of the queue, and at the one found last: the nearest of these is where to count from.
local front = { count = 0, cost_us = 0 }
local back = { count = call('ZCARD', P .. 'order'), cost_us = tonumber(call('GET', P .. 'ahead_us')) or 0 }
local last = front

local function look(count)
  local near = last
  for _, mark in ipairs({ front, back }) do
    if math.abs(mark.count - count) < math.abs(near.count - count) then near = mark end
  end
  local between_us = cost_between(math.min(near.count, count), math.max(near.count, count))
  last = { count = count, cost_us = near.cost_us + (near.count < count and between_us or -between_us) }
  return { count, whole(last.cost_us) }
end

local answers = {}
for i = 2, #ARGV do
  local values = call('HMGET', P .. 'job:' .. ARGV[i], 'state', 'place')
  answers[i - 1] = values[1] == 'queued' and look(call('ZRANK', P .. 'order', values[2])) or {}
end
return answers
