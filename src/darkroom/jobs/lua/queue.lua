-- queue: the queue in figures.
-- Returns {queued, running, scheduled, predicted microseconds, the time of the oldest (or false), models and counts}.

local oldest = call('ZRANGE', P .. 'queue', 0, 0, 'WITHSCORES')
return {
  call('ZCARD', P .. 'queue'),
  call('ZCARD', P .. 'running'),
  call('ZCARD', P .. 'scheduled'),
  call('GET', P .. 'ahead_us') or '0',
  oldest[2] or false,
  call('HGETALL', P .. 'models'),
}
