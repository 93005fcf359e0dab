-- What every script begins with: the job's row, moving a job between the indexes of the states, events, waking.
--
-- KEYS[1] is PREFIX:queue, ARGV[1] is PREFIX with its colon; docs/architecture/03-redis.md describes each key.
-- A row is a hash of strings, a missing field is None. Numbers from outside stay the text that was given, since Lua's
-- own way of writing numbers would round a time to ten microseconds.

local P = ARGV[1]
local call = redis.call

local EVENTS_KEPT = 50000 -- of the global stream, about
local EVENTS_KEPT_S = 86400 -- a job's own, after it has ended
local PREVIEW_KEPT_S = 60 -- after the job has ended: its pictures are there by then

local FIELDS = {
  'state', 'tenant', 'model', 'worker', 'fence', 'attempt', 'max_attempts', 'priority', 'rank', 'place', 'serial',
  'born', 'cost_s', 'cost_us', 'weight', 'deadline_at', 'cancelling', 'suspect', 'company', 'uses', 'errors', 'key_id',
  'webhook',
}

local function text(number) return string.format('%.17g', number) end

local function whole(number) return string.format('%.0f', number) end

-- Those fields of the row that transitions need; nil where there is no such job.
local function row(id)
  local values = call('HMGET', P .. 'job:' .. id, unpack(FIELDS))
  if not values[1] then return nil end
  local job = { id = id }
  for i, name in ipairs(FIELDS) do job[name] = values[i] or nil end
  job.attempt = job.attempt or '0'
  return job
end

local TIME_NAMES = { running = 'started' } -- of transitions that are not called as the state they lead to

local function put(job, ...) call('HSET', P .. 'job:' .. job.id, ...) end

local function whole_row(id) return call('HGETALL', P .. 'job:' .. id) end

-- The job, if it runs under this very claim.
local function held(id, fence)
  local job = row(id)
  if job and job.state == 'running' and job.fence == fence then return job end
  return nil
end

-- The row, if it was this very call that ended the attempt: its first answer was lost, and it came again.
local function ended_by(token, id) return call('HGET', P .. 'job:' .. id, 'ended_by') == token and whole_row(id) end

-- A number above all it has given before, also those that a crash of Redis has lost: it follows the clock.
local last_seq

local function next_seq()
  if not last_seq then
    local clock = call('TIME')
    last_seq = math.max(tonumber(call('GET', P .. 'seq')) or 0, clock[1] * 1000000 + clock[2] - 1)
  end
  last_seq = last_seq + 1
  call('SET', P .. 'seq', whole(last_seq))
  return whole(last_seq)
end

local function note(seq, id, at, kind, data)
  call('XADD', P .. 'events', 'MAXLEN', '~', EVENTS_KEPT, seq .. '-0', 'job', id, 'at', at, 'type', kind, 'data', data)
end

-- An event (`data` is JSON) on the job's own stream and on the one of all jobs; returns its seq.
local function emit(id, at, kind, data)
  local seq = next_seq()
  call('XADD', P .. 'events:' .. id, seq .. '-0', 'at', at, 'type', kind, 'data', data)
  note(seq, id, at, kind, data)
  return seq
end

-- Whoever waits for work looks again: readers ask for what came after the last they saw. An exact length costs more.
local is_woken

local function wake()
  if not is_woken then call('XADD', P .. 'wake', 'MAXLEN', '~', 100, '*', 'w', '') end
  is_woken = true
end

-- Text that sorts as the number does, which is not negative: its bits.
local function sortable(number)
  local bits = string.gsub(struct.pack('>d', tonumber(number)), '.', function(byte)
    return string.format('%02x', string.byte(byte))
  end)
  return bits
end

-- Sorts as jobs came: time, order of arrival.
local function born_at(job, at) return sortable(at) .. string.format(':%016.0f:', tonumber(job.serial)) .. job.id end

-- High priorities sort first.
local function level(priority) return string.format('%013.0f:', 1e12 - tonumber(priority)) end

-- The class's step in a priority (core.py): all of it that counts between tenants.
local function class_of(priority)
  priority = tonumber(priority)
  return priority <= -500 and -1000 or priority > 500 and 1000 or 0
end

-- Sorts as claims go: class, rank, order of arrival; then the cost, so that a sum reads no rows. Fixed widths.
local function place_of(job)
  local order = level(class_of(job.priority)) .. sortable(job.rank)
  return order .. string.format(':%016.0f:%015.0f:', tonumber(job.serial), tonumber(job.cost_us)) .. job.id
end

local function cost_at(place) return tonumber(string.sub(place, 49, 63)) end

local function id_at(place) return string.sub(place, 65) end

-- Where a newcomer begins: the rank of the latest claim, which a claim out of turn must not have moved past what
-- is queued beside the newcomer.
local function virtual_time(job)
  local present = tonumber(call('GET', P .. 'virtual')) or 0
  local queue, from = P .. 'queue:' .. job.model, level(class_of(job.priority))
  local first = call('ZRANGEBYLEX', queue, '[' .. from, '(' .. string.sub(from, 1, 13) .. ';', 'LIMIT', 0, 1)[1]
  if not first then return present end
  local values = call('HMGET', P .. 'job:' .. id_at(first), 'rank', 'cost_s', 'weight')
  return math.min(math.max(present, values[1] - values[2] / values[3]), tonumber(values[1]))
end

local function start_of(job) return job.rank - job.cost_s / job.weight end

-- A queued job in its tenant's own line: priority, then rank and order of arrival.
local function own_place(job)
  return level(job.priority) .. sortable(job.rank) .. string.format(':%016.0f:', tonumber(job.serial)) .. job.id
end

local function enter_lines(job)
  call('ZADD', P .. 'order', 0, job.place)
  call('ZADD', P .. 'queue:' .. job.model, 0, job.place)
  call('ZADD', P .. 'line:' .. job.tenant, 0, own_place(job))
end

local function leave_lines(job)
  call('ZREM', P .. 'order', job.place)
  call('ZREM', P .. 'queue:' .. job.model, job.place)
  call('ZREM', P .. 'line:' .. job.tenant, own_place(job))
end

local function set_rank(job, value)
  job.rank = text(value)
  job.place = place_of(job)
  put(job, 'rank', job.rank, 'place', job.place)
end

-- The tenant's queued jobs with priorities between these, both included, by rank.
local function own_line(tenant, highest, lowest)
  local found = call('ZRANGEBYLEX', P .. 'line:' .. tenant, '[' .. level(highest), '(' .. level(lowest - 1))
  table.sort(found, function(one, other) return string.sub(one, 15) < string.sub(other, 15) end)
  return found
end

-- Those of its class that a priority goes before.
local function line_behind(tenant, priority)
  return own_line(tenant, priority - 1, class_of(priority) == -1000 and -1e9 or class_of(priority) - 499)
end

-- The highest priority of that one's class.
local function highest(priority) return class_of(priority) == 1000 and 1e9 or class_of(priority) + 500 end

-- The rank of the last of its class that a priority does not go before; each turn finds the last of one priority.
local function last_ahead(tenant, priority)
  local key, top, below = P .. 'line:' .. tenant, '[' .. level(highest(priority)), '(' .. level(priority - 1)
  local last, member = 0, nil
  repeat
    member = call('ZRANGE', key, below, top, 'BYLEX', 'REV', 'LIMIT', 0, 1)[1]
    if member then
      last = math.max(last, tonumber(call('HGET', P .. 'job:' .. string.sub(member, 49), 'rank')))
      below = '(' .. string.sub(member, 1, 14)
    end
  until not member
  return last
end

local function job_in_line(member) return row(string.sub(member, 49)) end

-- These begin at `free_at` at the earliest, one after another; the tenant's next job comes after all.
local function move_back(tenant, members, free_at)
  for _, member in ipairs(members) do
    local job = job_in_line(member)
    if start_of(job) >= free_at then break end
    free_at = free_at + job.cost_s / job.weight
    leave_lines(job)
    set_rank(job, free_at)
    enter_lines(job)
  end
  call('ZADD', P .. 'finish', 'GT', text(free_at), tenant)
end

-- When a tenant has a turn for that priority: that of the first of those behind it, unless one stands there that it may
-- not overtake. A job that came back to the queue keeps its rank, and may stand before those of a higher priority.
local function earliest(tenant, priority, behind)
  if not behind[1] then return tonumber(call('ZSCORE', P .. 'finish', tenant)) or 0 end
  return math.max(start_of(job_in_line(behind[1])), last_ahead(tenant, priority))
end

-- Start-time fair queueing, once in a job's life: behind the tenant's own last job, or before those that its priority
-- goes before, which move back; but not before the present of the queue.
local function rank(job)
  if job.rank then return set_rank(job, job.rank) end -- its place may be of an earlier layout
  local priority = tonumber(job.priority)
  local behind = line_behind(job.tenant, priority)
  local start = earliest(job.tenant, priority, behind)
  set_rank(job, math.max(virtual_time(job), start) + job.cost_s / job.weight)
  move_back(job.tenant, behind, tonumber(job.rank))
end

local function count_in_queue(job, by)
  if call('HINCRBY', P .. 'models', job.model, by) == 0 then call('HDEL', P .. 'models', job.model) end
  call(by > 0 and 'INCRBY' or 'DECRBY', P .. 'ahead_us', job.cost_us)
end

-- Takes the job out of the indexes of its state; a new one is in none.
local function leave(job)
  if job.state == 'queued' then
    call('ZREM', P .. 'queue', job.id)
    leave_lines(job)
    call('ZREM', P .. 'since:' .. job.model, job.id)
    count_in_queue(job, -1)
  elseif job.state == 'running' then
    call('ZREM', P .. 'running', job.id)
    call('SREM', P .. 'held:' .. job.worker, job.id)
    call('SREM', P .. 'cancelling:' .. job.worker, job.id)
    if job.suspect then call('SREM', P .. 'suspects:' .. job.worker, job.id) end
    call('HDEL', P .. 'job:' .. job.id, 'lease_until', 'company')
  elseif job.state == 'scheduled' then
    call('ZREM', P .. 'scheduled', job.id)
  end
  call('ZREM', P .. 'deadlines', job.id)
  call('ZREM', P .. 'jobs:state:' .. job.state, job.born)
end

local function enter(job, state, at)
  put(job, 'state', state, 't:' .. (TIME_NAMES[state] or state), at)
  call('ZADD', P .. 'jobs:state:' .. state, 0, job.born)
  if job.deadline_at and (state == 'queued' or state == 'scheduled') then
    call('ZADD', P .. 'deadlines', job.deadline_at, job.id)
  end
  job.state = state
end

-- What an attempt leaves on the row ends with it.
local function hand_back(job)
  if job.worker then
    call('HDEL', P .. 'job:' .. job.id, 'worker', 'step')
  end
end

local function enter_queue(job, at)
  rank(job)
  hand_back(job)
  enter(job, 'queued', at)
  call('ZADD', P .. 'queue', at, job.id)
  enter_lines(job)
  call('ZADD', P .. 'since:' .. job.model, at, job.id)
  count_in_queue(job, 1)
  wake()
end

local function enter_schedule(job, at, run_at)
  hand_back(job)
  enter(job, 'scheduled', at)
  put(job, 'run_at', run_at)
  call('ZADD', P .. 'scheduled', run_at, job.id)
  wake() -- those who wait may now wait too long for it
end

-- Seconds or dollars as they are summed: whole, so that sums do not drift; what is no such number counts as none.
local function billionths(value)
  value = tonumber(value)
  if not value or value ~= value or value == math.huge then return 0 end
  return math.floor(math.min(math.max(value, 0), 9e6) * 1e9 + 0.5)
end

-- What a key uses on the day of UTC of that time.
local function usage_at(key_id, at) return P .. 'usage:' .. key_id .. ':' .. whole(math.floor(tonumber(at) / 86400)) end

-- The prediction of a job that has ended is replaced by what it took, on the day of its insert.
local function settle(job)
  call('SREM', P .. 'live:' .. job.key_id, job.id)
  local values = call('HMGET', P .. 'job:' .. job.id, 't:created', 'm:device_s', 'm:cost_usd', 'cost_usd')
  local usage = usage_at(job.key_id, values[1])
  if call('EXISTS', usage) == 0 then return end -- that day is forgotten
  call('HINCRBY', usage, 'device', whole(billionths(values[2]) - billionths(job.cost_s)))
  call('HINCRBY', usage, 'usd', whole(billionths(values[3]) - billionths(values[4])))
end

-- Under which name what a tenant used is summed: as core.py says.
local GUEST = '^guest%-.+%-' .. string.rep('[0-9a-f]', 16) .. '$'

local function payer_of(tenant) return string.find(tenant, GUEST) and '(guests)' or tenant end

-- What jobs took of a worker, on the day of UTC of that time: of `device`, `usd` (billionths), `jobs`, `images` so much
-- more. A job that never ran is charged to no worker.
local function charge(job, at, what, by)
  if not job.worker then return end
  local day = whole(math.floor(tonumber(at) / 86400))
  local whose = job.worker .. '\n' .. payer_of(job.tenant) .. '\n' .. job.model
  call('HINCRBY', P .. 'charges:' .. day, whose .. '\n' .. what, whole(by))
  call('ZADD', P .. 'days', day, day)
end

-- The job's webhook is to be told of that, if it asked for it; once, however often it happens.
local function owe(job, event, at)
  local asked = call('HGET', P .. 'job:' .. job.id, 'webhook_events') or 'succeeded,failed,cancelled'
  if not string.find(',' .. asked .. ',', ',' .. event .. ',', 1, true) then return end
  local id = 'msg_' .. job.id .. '_' .. event
  local delivery = P .. 'delivery:' .. id
  if call('HSETNX', delivery, 'id', id) == 0 then return end
  call('HSET', delivery, 'job_id', job.id, 'url', job.webhook, 'event', event, 'state', 'pending', 'due_at', at,
    'created_at', at, 'tenant', job.tenant)
  call('ZADD', P .. 'due', at, id)
  call('RPUSH', P .. 'deliveries:' .. job.id, id)
end

-- A final state, with the event that ends the job's stream.
local function finish(job, state, at, data)
  charge(job, at, 'jobs', 1)
  leave(job)
  enter(job, state, at)
  call('HDEL', P .. 'job:' .. job.id, 'cancelling')
  call('ZADD', P .. 'finished', at, job.id)
  for upload in string.gmatch(job.uses or '', '[^\n]+') do call('SREM', P .. 'uses:' .. upload, job.id) end
  put(job, 'end_seq', emit(job.id, at, state, data))
  call('EXPIRE', P .. 'events:' .. job.id, EVENTS_KEPT_S)
  call('EXPIRE', P .. 'preview:' .. job.id, PREVIEW_KEPT_S)
  if job.key_id then settle(job) end
  if job.webhook then owe(job, state, at) end
end

-- Lines of JSON: appending never reads what is there, and JSON has no line breaks.
local function append_error(job, fault)
  job.errors = job.errors and (job.errors .. '\n' .. fault) or fault
  put(job, 'errors', job.errors)
end

local function finish_failed(job, at, fault)
  append_error(job, fault)
  finish(job, 'failed', at, '{"error":' .. fault .. '}')
end

-- Back to the queue at its old rank; to its end where somebody wants it cancelled.
local function requeue(job, at, reason)
  if job.cancelling then
    finish(job, 'cancelled', at, '{}')
    return
  end
  leave(job)
  enter_queue(job, at)
  emit(job.id, at, 'requeued', '{"reason":' .. cjson.encode(reason) .. '}')
end

local function uncharge(job) put(job, 'attempt', whole(job.attempt - 1)) end

-- Its worker is gone. Alone, the job is charged with the death; in company, none is, and all are suspects.
local function lose(job, is_alone, at, reason)
  if job.cancelling then
    requeue(job, at, reason)
  elseif not is_alone then
    uncharge(job)
    requeue(job, at, reason)
    put(job, 'suspect', '1')
  else
    local message = 'worker ' .. job.worker .. ' ended while it ran this job: ' .. reason
    local fault = '{"code":"worker_died","message":' .. cjson.encode(message) .. ',"attempt":' .. job.attempt .. '}'
    if tonumber(job.attempt) >= tonumber(job.max_attempts) then
      finish_failed(job, at, fault)
    else
      append_error(job, fault)
      requeue(job, at, reason)
    end
  end
end

local SPENT = { device_s = 'device', cost_usd = 'usd' } -- paid for, whichever attempt took them

-- Metrics are of one attempt: those of an earlier one go. But what is paid for adds up.
-- They are the words of ARGV from `first` to `last`, or to the end; the second is always the time.
local function put_metrics(job, first, last)
  local fields, before = whole_row(job.id), {}
  for i = 1, #fields, 2 do
    local name = string.match(fields[i], '^m:(.*)$')
    if name then call('HDEL', P .. 'job:' .. job.id, fields[i]) end
    if SPENT[name] then before[name] = fields[i + 1] end
  end
  for i = first, last or #ARGV, 2 do
    local name, value = ARGV[i], ARGV[i + 1]
    if SPENT[name] then charge(job, ARGV[2], SPENT[name], billionths(value)) end
    put(job, 'm:' .. name, before[name] and text(before[name] + value) or value)
    before[name] = nil
  end
  for name, value in pairs(before) do put(job, 'm:' .. name, value) end
end

local function size_of(artifact) return cjson.decode(artifact).size end

local SMALLEST = 4096 -- bytes that an upload counts as at least: a block of a disk

-- The sum of its tenant's uploads, where it is one.
local function count_upload(artifact, sign)
  local it = cjson.decode(artifact)
  if type(it.job_id) == 'string' then return end
  local left = call('HINCRBY', P .. 'uploaded', it.tenant, whole(sign * math.max(it.size, SMALLEST)))
  if left <= 0 then call('HDEL', P .. 'uploaded', it.tenant) end
end

-- How many bytes artifacts take; counted once where the release that wrote them kept no sum.
local function stored_bytes()
  local known = call('GET', P .. 'bytes')
  if known then return tonumber(known) end
  local sum = 0
  call('DEL', P .. 'uploaded')
  for _, id in ipairs(call('ZRANGE', P .. 'finished', 0, -1)) do
    local outputs = call('HGET', P .. 'job:' .. id, 'outputs') or ''
    for artifact in string.gmatch(outputs, '[^\n]+') do sum = sum + size_of(artifact) end
  end
  for _, id in ipairs(call('ZRANGE', P .. 'uploads', 0, -1)) do
    local artifact = call('GET', P .. 'artifact:' .. id)
    if artifact then
      sum = sum + size_of(artifact)
      count_upload(artifact, 1)
    end
  end
  call('SET', P .. 'bytes', whole(sum))
  return sum
end

local function keep_artifact(id, artifact)
  stored_bytes()
  local before = call('SET', P .. 'artifact:' .. id, artifact, 'GET')
  call('INCRBY', P .. 'bytes', whole(size_of(artifact) - (before and size_of(before) or 0)))
  if not before then count_upload(artifact, 1) end
end

-- Forgets an artifact; what it was, as JSON, or false.
local function drop_artifact(id)
  stored_bytes()
  local artifact = call('GETDEL', P .. 'artifact:' .. id)
  if artifact then
    call('DECRBY', P .. 'bytes', whole(size_of(artifact)))
    count_upload(artifact, -1)
  end
  return artifact
end

-- Adds it to those removed; 1 where a live job needs it, and it stays.
local function forget_upload(id, removed)
  if call('EXISTS', P .. 'uses:' .. id) == 1 then return 1 end
  removed[#removed + 1] = drop_artifact(id) or nil
  call('ZREM', P .. 'uploads', id)
  return 0
end

local function forget_deliveries(id)
  for _, delivery in ipairs(call('LRANGE', P .. 'deliveries:' .. id, 0, -1)) do
    call('DEL', P .. 'delivery:' .. delivery)
    call('ZREM', P .. 'due', delivery)
  end
  call('DEL', P .. 'deliveries:' .. id)
end

-- Forgets a final job with its idempotency key and its webhook calls; adds the artifacts it had, as JSON, to `removed`.
local function forget(id, removed)
  local values = call('HMGET', P .. 'job:' .. id, 'tenant', 'state', 'outputs', 'idem', 'born', 'webhook')
  local seen = values[4] and call('GET', P .. 'idem:' .. values[4])
  if seen and string.match(seen, '^.-\n(.-)\n') == id then
    call('DEL', P .. 'idem:' .. values[4])
    call('ZREM', P .. 'idems', values[4])
  end
  for artifact in string.gmatch(values[3] or '', '[^\n]+') do
    removed[#removed + 1] = artifact
    drop_artifact(cjson.decode(artifact).id)
  end
  if values[6] then forget_deliveries(id) end
  call('UNLINK', P .. 'job:' .. id, P .. 'events:' .. id, P .. 'preview:' .. id)
  call('ZREM', P .. 'finished', id)
  for _, key in ipairs({ 'jobs', 'jobs:tenant:' .. values[1], 'jobs:state:' .. values[2] }) do
    call('ZREM', P .. key, values[5])
  end
end
