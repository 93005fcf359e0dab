-- set_priority: another place among its tenant's jobs for one that has not started, the last of its equals; a later one
-- stays. ARGV: id, priority. Returns the row, empty where there is none.

local job, priority = row(ARGV[2]), tonumber(ARGV[3])

local function without(members, mine)
  local others = {}
  for _, member in ipairs(members) do
    if member ~= mine then others[#others + 1] = member end
  end
  return others
end

-- The rank of the last of these that stands before that; 0 where none does.
local function last_before(members, stand)
  for i = #members, 1, -1 do
    if string.sub(members[i], 15) < stand then return tonumber(job_in_line(members[i]).rank) end
  end
  return 0
end

-- When its turn begins with that priority (nothing where its turn stays), and who comes after it.
local function turn_of(job)
  local mine = own_place(job)
  local behind = without(line_behind(job.tenant, priority), mine)
  local ahead = without(own_line(job.tenant, highest(priority), priority), mine)
  local first, last, stand = behind[1], ahead[#ahead], string.sub(mine, 15)
  if first and string.sub(first, 15) < stand then
    local present = virtual_time({ model = job.model, priority = priority })
    local start = math.max(present, start_of(job_in_line(first)), last_before(ahead, stand))
    return math.min(start, start_of(job)), behind
  elseif last and string.sub(last, 15) > stand then
    return tonumber(job_in_line(last).rank), behind
  end
end

local function move(job)
  local start, behind = turn_of(job)
  leave_lines(job)
  job.priority = ARGV[3]
  set_rank(job, start and start + job.cost_s / job.weight or job.rank)
  if start then move_back(job.tenant, behind, tonumber(job.rank)) end
  enter_lines(job)
  wake()
end

if job and (job.state == 'queued' or job.state == 'scheduled') and tonumber(job.priority) ~= priority then
  put(job, 'priority', ARGV[3])
  if job.state == 'queued' then
    move(job)
  elseif job.place then -- one that was never queued gets its place then
    job.priority = ARGV[3]
    set_rank(job, job.rank)
  end
end
return whole_row(ARGV[2])
