-- list_jobs: rows, newest first, out of the shortest index that holds them all; a bounded look, so it may end early.
--
-- ARGV: tenant, state, model, since ('': any), the cursor to go on behind ('': the newest), how many rows are wanted,
-- how many to look at. Returns {the cursor reached ('': there is no more), rows...}.

local tenant, state, model, since = ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local wanted, look = tonumber(ARGV[7]), tonumber(ARGV[8])

local function shortest()
  local best, size = P .. 'jobs', call('ZCARD', P .. 'jobs')
  for kind, name in pairs({ tenant = tenant, state = state }) do
    local key = P .. 'jobs:' .. kind .. ':' .. name
    local count = name ~= '' and call('ZCARD', key)
    if count and count < size then best, size = key, count end
  end
  return best
end

local function fits(id)
  local has = call('HMGET', P .. 'job:' .. id, 'tenant', 'state', 'model')
  return has[2] and (tenant == '' or has[1] == tenant) and (state == '' or has[2] == state)
    and (model == '' or has[3] == model)
end

local newest = ARGV[6] == '' and '+' or '(' .. ARGV[6]
local oldest = since and '[' .. sortable(since) or '-'
local found = call('ZREVRANGEBYLEX', shortest(), newest, oldest, 'LIMIT', 0, look)
local answer = { '' }
for i, born in ipairs(found) do
  local cursor, id = string.match(born, '^(%x+:%d+):(.*)$')
  if fits(id) then answer[#answer + 1] = whole_row(id) end
  if #answer > wanted or i == look then
    answer[1] = cursor
    break
  end
end
return answer
