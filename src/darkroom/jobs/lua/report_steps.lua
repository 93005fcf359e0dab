-- report_steps: steps were done; of previews only the latest is kept.
-- ARGV: for each its time, id, fence, step, steps, data of the event, preview as data of its event ('': none).
-- Returns the numbers of those whose lease is lost.

local function report(at, id, fence, step, steps, done, shown)
  local values = call('HMGET', P .. 'job:' .. id, 'state', 'fence')
  if values[1] ~= 'running' or values[2] ~= fence then return false end
  put({ id = id }, 'step', step, 'steps', steps)
  emit(id, at, 'progress', done)
  if shown ~= '' then
    local seq = next_seq()
    call('HSET', P .. 'preview:' .. id, 'seq', seq, 'at', at, 'data', shown)
    note(seq, id, at, 'preview', '{}') -- a picture a step would fill the stream: readers fetch the latest
  end
  return true
end

local lost = {}
for i = 2, #ARGV, 7 do
  if not report(unpack(ARGV, i, i + 6)) then lost[#lost + 1] = (i + 5) / 7 end
end
return lost
