-- delete_artifact: forgets an artifact, and takes it off the job that made it. ARGV: id.
-- Returns it as JSON, or false.

local artifact = drop_artifact(ARGV[2])
if not artifact then return false end
call('DEL', P .. 'uses:' .. ARGV[2])
call('ZREM', P .. 'uploads', ARGV[2])
local id = cjson.decode(artifact).job_id
local outputs = type(id) == 'string' and call('HGET', P .. 'job:' .. id, 'outputs')
if outputs then
  local left = {}
  for line in string.gmatch(outputs, '[^\n]+') do
    if line ~= artifact then left[#left + 1] = line end
  end
  call('HSET', P .. 'job:' .. id, 'outputs', table.concat(left, '\n'))
end
return artifact
