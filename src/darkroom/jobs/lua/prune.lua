-- prune: forgets final jobs and uploads from before given times, a batch at a time, and what no longer says anything.
--
-- ARGV: jobs_before, uploads_before, batch, how many uploads to pass over (a live job needs them), how many artifacts
-- at most, workers_before, until when idempotency keys were made, before which day costs are forgotten.
-- Returns {whether that was all, uploads that stay, the artifacts as JSON}.

local batch, room = tonumber(ARGV[4]), tonumber(ARGV[6])
local removed, kept, is_done = {}, 0, 1

local function has_room_for(id)
  local outputs = call('HGET', P .. 'job:' .. id, 'outputs') or ''
  local _, count = string.gsub(outputs, '[^\n]+', '')
  return #removed == 0 or #removed + count <= room
end

local ids = call('ZRANGEBYSCORE', P .. 'finished', '-inf', '(' .. ARGV[2], 'LIMIT', 0, batch)
if #ids == batch then is_done = 0 end
for _, id in ipairs(ids) do
  if not has_room_for(id) then return { 1, kept, removed } end
  forget(id, removed)
end

local uploads = call('ZRANGEBYSCORE', P .. 'uploads', '-inf', '(' .. ARGV[3], 'LIMIT', ARGV[5], batch)
if #uploads == batch then is_done = 0 end
for _, id in ipairs(uploads) do
  if #removed >= room then return { 1, kept, removed } end
  kept = kept + forget_upload(id, removed)
end

for _, key in ipairs(call('ZRANGEBYSCORE', P .. 'idems', '-inf', ARGV[8], 'LIMIT', 0, batch)) do
  call('DEL', P .. 'idem:' .. key)
  call('ZREM', P .. 'idems', key)
end

for _, worker in ipairs(call('ZRANGEBYSCORE', P .. 'workers', '-inf', '(' .. ARGV[7], 'LIMIT', 0, batch)) do
  call('ZREM', P .. 'workers', worker)
  call('HDEL', P .. 'reports', worker)
  call('HDEL', P .. 'holds', worker)
  call('SREM', P .. 'draining', worker)
end
for _, day in ipairs(call('ZRANGEBYSCORE', P .. 'days', '-inf', '(' .. ARGV[9], 'LIMIT', 0, batch)) do
  call('UNLINK', P .. 'times:' .. day, P .. 'charges:' .. day)
  call('ZREM', P .. 'days', day)
end
return { is_done, kept, removed }
