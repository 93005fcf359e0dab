-- report_step: a step was done; of previews only the latest is kept.
-- ARGV: now, id, fence, step, steps, data of the event, preview as data of its event ('': none).
-- Returns 1, or 0 where the lease is lost.

local job = held(ARGV[3], ARGV[4])
if not job then return 0 end
put(job, 'step', ARGV[5], 'steps', ARGV[6])
emit(job.id, ARGV[2], 'progress', ARGV[7])
if ARGV[8] ~= '' then
  local seq = next_seq()
  call('HSET', P .. 'preview:' .. job.id, 'seq', seq, 'at', ARGV[2], 'data', ARGV[8])
  note(seq, job.id, ARGV[2], 'preview', '{}') -- a picture a step would fill the stream: readers fetch the latest
end
return 1
