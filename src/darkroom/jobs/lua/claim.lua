-- claim: queued -> running, under a new fence each. Repeating it with the same token gives the same jobs.
--
-- Order: priority, then jobs of loaded models and jobs that have waited, then the others, then rank. Each model has its
-- own sorted queue, so it is enough to look at the first few of each.
-- ARGV: now, lease_s, patience_s, worker, limit, whether it is idle ('1'), token, how many models are loaded, those,
-- and the other models it can serve. Returns rows.

local now, lease_s, patience_s = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local worker, limit = ARGV[5], tonumber(ARGV[6])
local is_idle, token, loaded = ARGV[7] == '1', P .. 'claim:' .. ARGV[8], tonumber(ARGV[9])
-- The first `limit` of a model's queue that have not expired, as far as `is_wanted`.
local function first_of(model, is_wanted)
  local found, from, chunk = {}, 0, math.min(limit, 64)
  repeat
    local places = call('ZRANGE', P .. 'queue:' .. model, from, from + chunk - 1)
    for _, place in ipairs(places) do
      local id = id_at(place)
      local deadline = call('HGET', P .. 'job:' .. id, 'deadline_at')
      if (not deadline or tonumber(deadline) > now) and is_wanted(id) then found[#found + 1] = place end
      if #found == limit then return found end
    end
    from = from + chunk
    local is_last = #places < chunk
    chunk = 64
  until is_last
  return found
end

local function any() return true end

local function has_waited(id) return tonumber(call('ZSCORE', P .. 'queue', id)) <= now - patience_s end

local candidates, seen = {}, {}

local function add(places, class)
  for _, place in ipairs(places) do
    if not seen[place] then candidates[#candidates + 1] = string.sub(place, 1, 13) .. class .. place end
    seen[place] = true
  end
end

local function gather()
  for i = 10, #ARGV do
    local model = ARGV[i]
    if i < 10 + loaded then
      add(first_of(model, any), '0')
    else
      if call('ZCOUNT', P .. 'since:' .. model, '-inf', text(now - patience_s)) > 0 then
        add(first_of(model, has_waited), '0')
      end
      add(first_of(model, any), '1')
    end
  end
  table.sort(candidates)
end

local function mark(job)
  leave(job)
  local lease_until = text(now + lease_s)
  enter(job, 'running', ARGV[2])
  local attempt = whole(job.attempt + 1)
  local seq = emit(job.id, ARGV[2], 'started', '{"worker":' .. cjson.encode(worker) .. ',"attempt":' .. attempt .. '}')
  -- The event's seq is the fence: it rises with every claim, also after a crash that lost the latest ones.
  put(job, 'fence', seq, 'worker', worker, 'attempt', attempt, 'lease_until', lease_until)
  call('ZADD', P .. 'running', lease_until, job.id)
  call('SADD', P .. 'held:' .. worker, job.id)
  if job.suspect then call('SADD', P .. 'suspects:' .. worker, job.id) end
  call('SET', P .. 'virtual', job.rank)
  if job.webhook then owe(job, 'started', ARGV[2]) end
end

local function choose()
  local ids = {}
  if call('EXISTS', P .. 'suspects:' .. worker) == 1 then return ids end -- it runs alone
  gather()
  for i = 1, math.min(limit, #candidates) do
    local job = row(id_at(string.sub(candidates[i], 15)))
    if job.suspect and (i > 1 or not is_idle) then break end
    mark(job)
    ids[i] = job.id
    if job.suspect then break end
  end
  if #ids > 0 then call('SET', token, table.concat(ids, '\n'), 'EX', 60) end
  return ids
end

local rows, before = {}, call('GET', token)
if before then
  for id in string.gmatch(before, '[^\n]+') do rows[#rows + 1] = whole_row(id) end
elseif limit > 0 then
  for i, id in ipairs(choose()) do rows[i] = whole_row(id) end
end
return rows
