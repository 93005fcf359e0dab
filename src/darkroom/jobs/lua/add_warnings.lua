-- add_warnings: to a running job, those that it has not. ARGV: id, fence, then the warnings.
-- Returns the row, or false where the lease is lost.

local job = held(ARGV[2], ARGV[3])
if not job then return false end
local warnings, seen = cjson.decode(call('HGET', P .. 'job:' .. job.id, 'warnings') or '[]'), {}
for _, warning in ipairs(warnings) do seen[warning] = true end
for i = 4, #ARGV do
  if not seen[ARGV[i]] then warnings[#warnings + 1] = ARGV[i] end
  seen[ARGV[i]] = true
end
if #warnings > 0 then put(job, 'warnings', cjson.encode(warnings)) end
return whole_row(job.id)
