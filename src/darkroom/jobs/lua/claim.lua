-- claim: queued -> running, under a new fence each. Repeating it with the same token gives the same jobs.
--
-- Order: priority, then jobs of loaded models and jobs that have waited, then the others, then rank. Each model has its
-- own sorted queue, so it is enough to look at the first few of each.
-- ARGV: now, lease_s, patience_s, hold_s, close_s, worker, limit, whether it is idle ('1'), token, how many models are
-- loaded, those, and the other models it can serve. Returns rows.

local now, lease_s, patience_s = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local hold_s, close_s, worker, limit = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local is_idle, token, loaded = ARGV[9] == '1', P .. 'claim:' .. ARGV[10], tonumber(ARGV[11])
local FIRST_MODEL = 12
local FEW = 64 -- rows looked at in one go

local function set_of(names)
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end

local function words_of(text)
  local words = {}
  for word in string.gmatch(text, '[^,]+') do words[#words + 1] = word end
  return words
end

local function has_all(held, needs)
  for _, name in ipairs(needs) do
    if not held[name] then return false end
  end
  return true
end

-- What a live worker that nobody wants to drain has in memory: sets of adapters by model.
local function read_holds(id)
  local said = call('SISMEMBER', P .. 'draining', id) == 0 and call('HGET', P .. 'holds', id)
  local holds = cjson.decode(said or '{}')
  for model, adapters in pairs(holds) do holds[model] = set_of(adapters) end
  return holds
end

-- What the claimant has by its last report, and what others have; looked up once, and only where a young job asks.
local own, others

local function look_around()
  own, others = {}, {}
  for _, id in ipairs(call('ZRANGEBYSCORE', P .. 'workers', '(' .. text(now - lease_s), '(' .. text(now + lease_s))) do
    if id == worker then own = read_holds(id) else others[#others + 1] = read_holds(id) end
  end
end

-- Whether another has the model in memory, and those adapters (a list) with it.
local function is_elsewhere(model, needs)
  for _, holds in ipairs(others) do
    if holds[model] and has_all(holds[model], needs) then return true end
  end
  return false
end

-- Whether a job is left to a worker that is better placed: as routing.py says.
local function is_left(id, place, model, is_loaded, deadline_at, adapters)
  if deadline_at and tonumber(deadline_at) <= now + close_s then return false end
  if string.sub(place, 1, 14) < level(0) then return false end -- of a class above normal
  if math.abs(now - tonumber(call('ZSCORE', P .. 'queue', id))) >= hold_s then return false end
  if is_loaded and not adapters then return false end
  if not own then look_around() end
  if not is_loaded then return is_elsewhere(model, {}) end
  local needs = words_of(adapters)
  return not has_all(own[model] or {}, needs) and is_elsewhere(model, needs)
end

-- Whether some job of the model may be due soon; yes where too many are for a look at each.
local function may_be_close(model)
  local soon = call('ZRANGEBYSCORE', P .. 'deadlines', '(' .. text(now), text(now + close_s), 'LIMIT', 0, FEW)
  for _, id in ipairs(soon) do
    if call('HGET', P .. 'job:' .. id, 'model') == model then return true end
  end
  return #soon == FEW
end

-- Whether every job of a model that the claimant has not is young, not urgent, and left to another.
local function are_all_left(model)
  local head = call('ZRANGE', P .. 'queue:' .. model, 0, 0)[1]
  if not head then return true end
  if not own then look_around() end
  if string.sub(head, 1, 14) < level(0) or not is_elsewhere(model, {}) or may_be_close(model) then return false end
  local since = P .. 'since:' .. model
  return call('ZCOUNT', since, '-inf', text(now - hold_s)) == 0 and call('ZCOUNT', since, text(now + hold_s), '+inf') == 0
end

-- The first `limit` of a model's queue that have not expired and are left to nobody, as far as `is_wanted`.
local function first_of(model, is_loaded, is_wanted)
  local found, from, chunk = {}, 0, math.min(limit, FEW)
  repeat
    local places = call('ZRANGE', P .. 'queue:' .. model, from, from + chunk - 1)
    for _, place in ipairs(places) do
      local id = id_at(place)
      local said = call('HMGET', P .. 'job:' .. id, 'deadline_at', 'adapters')
      local is_alive = not said[1] or tonumber(said[1]) > now
      if is_alive and is_wanted(id) and not is_left(id, place, model, is_loaded, said[1], said[2]) then
        found[#found + 1] = place
      end
      if #found == limit then return found end
    end
    from = from + chunk
    local is_last = #places < chunk
    chunk = FEW
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
  for i = FIRST_MODEL, #ARGV do
    local model = ARGV[i]
    if i < FIRST_MODEL + loaded then
      add(first_of(model, true, any), '0')
    elseif not are_all_left(model) then
      if call('ZCOUNT', P .. 'since:' .. model, '-inf', text(now - patience_s)) > 0 then
        add(first_of(model, false, has_waited), '0')
      end
      add(first_of(model, false, any), '1')
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
