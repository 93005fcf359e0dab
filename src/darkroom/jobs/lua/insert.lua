-- insert: new jobs, queued or scheduled, in one go. Repeating it with the same token gives the same jobs.
--
-- ARGV: now, idempotency_s, max_queued, max_scheduled (of a tenant; '': no limit), token, how many jobs; then for
-- each: id, idempotency key ('': none), digest, tenant, cost_s, run_at ('': at once), id of its API key ('': none); of an API key cost_usd, jobs a
-- minute, live jobs, device seconds and dollars a day ('': no limit); how many strings its input holds, those strings,
-- how many words its row has, and those, name by name.
-- Returns for each: {'new', state, rank}, {'job', row} of a known key, {'full'}, {'schedule_full', seconds}, {'limit', which, seconds until it
-- frees}, {'conflict'} (of the key) or {'taken'} (the id).

local now, idempotency_s, max_queued, max_scheduled = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local token = ARGV[6]
local at = 7

local function take(count)
  local taken = {}
  for i = 1, count do taken[i] = ARGV[at + i] end
  at = at + count
  return taken
end

-- What an idempotency key stands for: 'known' with the job's id, 'conflict', or nothing.
local function known_by(key, digest)
  local seen = key ~= '' and call('GET', P .. 'idem:' .. key)
  if not seen then return nil end
  local seen_at, seen_id, seen_digest = string.match(seen, '^(.-)\n(.-)\n(.*)$')
  if tonumber(now) - tonumber(seen_at) >= idempotency_s or call('EXISTS', P .. 'job:' .. seen_id) == 0 then
    return nil
  end
  return seen_digest == digest and 'known' or 'conflict', seen_id
end

-- The uploads among the strings of the job's input: they stay as long as the job lives.
local function hold_uploads(job, strings)
  local uses = {}
  for _, name in ipairs(strings) do
    if call('EXISTS', P .. 'artifact:' .. name) == 1 then
      call('SADD', P .. 'uses:' .. name, job.id)
      uses[#uses + 1] = name
    end
  end
  if #uses > 0 then put(job, 'uses', table.concat(uses, '\n')) end
end

local USAGE_KEPT_S, RATE_KEPT_S = 3 * 86400, 3600
local LOOK = 100 -- of the schedule's jobs, for when there will be room
local BUCKET_S, SLACK_S = 60, 1e-3 -- as in allowances.py

-- When the job after this one would be on time (GCRA). A key that is more than two buckets ahead got there by a clock
-- that has since gone back: it begins anew.
local function next_arrival(new)
  local at = tonumber(now)
  local arrival_at = tonumber(call('HGET', P .. 'rate:' .. new.key_id, 'arrival_at')) or 0
  if arrival_at > at + 2 * BUCKET_S then arrival_at = 0 end
  return math.max(arrival_at, at) + BUCKET_S / new.per_minute
end

-- The limit of its API key that a job does not fit in, and how long until it frees; that which frees last goes first.
local function exceeded(new)
  local used, today = {}, math.floor(tonumber(now) / 86400)
  if new.usd_per_day or new.device_per_day then used = call('HMGET', usage_at(new.key_id, now), 'usd', 'device') end
  local function is_past(most, so_far, cost)
    return most and (tonumber(so_far) or 0) + billionths(cost) > billionths(most)
  end
  local until_tomorrow_s = (today + 1) * 86400 - tonumber(now)
  if is_past(new.usd_per_day, used[1], new.cost_usd) then return 'usd_per_day', until_tomorrow_s end
  if is_past(new.device_per_day, used[2], new.cost_s) then return 'device_s_per_day', until_tomorrow_s end
  local ahead_s = new.per_minute and next_arrival(new) - tonumber(now) - BUCKET_S or 0
  if ahead_s > SLACK_S then return 'jobs_per_minute', math.min(ahead_s, 2 * BUCKET_S) end
  if new.live_jobs and call('SCARD', P .. 'live:' .. new.key_id) >= new.live_jobs then return 'live_jobs', 1 end
end

-- Its prediction is used, and so is its turn.
local function reserve(new)
  local usage = usage_at(new.key_id, now)
  call('SADD', P .. 'live:' .. new.key_id, new.id)
  call('HINCRBY', usage, 'device', whole(billionths(new.cost_s)))
  call('HINCRBY', usage, 'usd', whole(billionths(new.cost_usd)))
  call('EXPIRE', usage, USAGE_KEPT_S)
  if new.per_minute then
    local rate = P .. 'rate:' .. new.key_id
    call('HSET', rate, 'arrival_at', text(next_arrival(new)), 'interval_s', text(BUCKET_S / new.per_minute))
    call('EXPIRE', rate, RATE_KEPT_S)
  end
end

local function store(new, strings, values, mark)
  local job = { id = new.id, serial = whole(call('INCR', P .. 'serial')) }
  job.born = born_at(job, now)
  local made = { 'state', 'new', 'token', mark, 'serial', job.serial, 'born', job.born, 't:created', now, 'cost_us',
    whole(math.floor(new.cost_s * 1e6 + 0.5)) }
  for _, word in ipairs(made) do values[#values + 1] = word end
  put(job, unpack(values))
  hold_uploads(job, strings)
  call('ZADD', P .. 'jobs', 0, job.born)
  call('ZADD', P .. 'jobs:tenant:' .. new.tenant, 0, job.born)
  if new.key ~= '' then
    put(job, 'idem', new.key)
    local seen = table.concat({ now, new.id, new.digest }, '\n')
    call('SET', P .. 'idem:' .. new.key, seen, 'EX', math.max(1, math.ceil(idempotency_s)))
    call('ZADD', P .. 'idems', now, new.key)
  end
  return row(new.id)
end

local function is_later(new) return new.run_at ~= '' and tonumber(new.run_at) > tonumber(now) end

local function queue_full() return max_queued and call('ZCARD', P .. 'queue') >= max_queued and { 'full' } end

-- Whether the tenant has scheduled all that it may; and how long until the first of these is due, or at least until the
-- last of those that are due before it and were looked at.
local function schedule_full(new)
  local both = { P .. 'jobs:tenant:' .. new.tenant, P .. 'jobs:state:scheduled' }
  if not max_scheduled or call('ZINTERCARD', 2, both[1], both[2], 'LIMIT', max_scheduled) < max_scheduled then
    return nil
  end
  local soonest = call('ZRANGE', P .. 'scheduled', 0, LOOK - 1, 'WITHSCORES')
  local due = now
  for i = 1, #soonest, 2 do
    due = soonest[i + 1]
    if call('HGET', P .. 'job:' .. soonest[i], 'tenant') == new.tenant then break end
  end
  return { 'schedule_full', text(tonumber(due) - tonumber(now)) }
end

local function insert(new, strings, values, mark)
  local made_by = call('HGET', P .. 'job:' .. new.id, 'token')
  if made_by == mark then return { 'job', whole_row(new.id) } end -- its first answer was lost
  local verdict, seen_id = known_by(new.key, new.digest)
  if verdict == 'known' then return { 'job', whole_row(seen_id) } end
  if verdict or made_by then return { verdict or 'taken' } end
  local full = is_later(new) and schedule_full(new) or not is_later(new) and queue_full()
  if full then return full end
  if new.key_id then
    local which, wait_s = exceeded(new)
    if which then return { 'limit', which, text(wait_s) } end
    reserve(new)
  end
  local job = store(new, strings, values, mark)
  if is_later(new) then
    enter_schedule(job, now, new.run_at)
  else
    enter_queue(job, now)
    emit(job.id, now, 'queued', '{}')
  end
  return { 'new', job.state, job.rank or '0' }
end

local answers = {}
for i = 1, tonumber(ARGV[7]) do
  local head = take(7)
  local new = { id = head[1], key = head[2], digest = head[3], tenant = head[4], cost_s = head[5], run_at = head[6] }
  if head[7] ~= '' then
    local rest = take(5)
    new.key_id, new.cost_usd, new.per_minute, new.live_jobs = head[7], rest[1], tonumber(rest[2]), tonumber(rest[3])
    new.device_per_day, new.usd_per_day = tonumber(rest[4]), tonumber(rest[5])
  end
  local strings = take(tonumber(take(1)[1]))
  answers[i] = insert(new, strings, take(tonumber(take(1)[1])), token .. ':' .. i)
end
return answers
