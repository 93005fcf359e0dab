-- insert: new jobs, queued or scheduled, in one go. Repeating it with the same token gives the same jobs.
--
-- ARGV: now, idempotency_s, max_queued ('': no limit), token, how many jobs; then for each: id, idempotency key
-- ('': none), digest, tenant, cost_s, run_at ('': at once), how many strings its input holds, those strings, how many
-- words its row has, and those, name by name.
-- Returns for each: {'new', state, rank}, {'job', row} of a known key, {'full'}, {'conflict'} (of the key) or {'taken'} (the id).

local now, idempotency_s, max_queued, token = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local at = 6

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

local function insert(new, strings, values, mark)
  local made_by = call('HGET', P .. 'job:' .. new.id, 'token')
  if made_by == mark then return { 'job', whole_row(new.id) } end -- its first answer was lost
  local verdict, seen_id = known_by(new.key, new.digest)
  if verdict == 'known' then return { 'job', whole_row(seen_id) } end
  if verdict or made_by then return { verdict or 'taken' } end
  if max_queued and call('ZCARD', P .. 'queue') + call('ZCARD', P .. 'scheduled') >= max_queued then
    return { 'full' }
  end
  local job = store(new, strings, values, mark)
  if new.run_at ~= '' and tonumber(new.run_at) > tonumber(now) then
    enter_schedule(job, now, new.run_at)
  else
    enter_queue(job, now)
    emit(job.id, now, 'queued', '{}')
  end
  return { 'new', job.state, job.rank or '0' }
end

local answers = {}
for i = 1, tonumber(ARGV[6]) do
  local head = take(6)
  local new = { id = head[1], key = head[2], digest = head[3], tenant = head[4], cost_s = head[5], run_at = head[6] }
  local strings = take(tonumber(take(1)[1]))
  answers[i] = insert(new, strings, take(tonumber(take(1)[1])), token .. ':' .. i)
end
return answers
