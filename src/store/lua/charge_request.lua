#!lua flags=allow-oom
-- Counts a request in every window of a venue's limits that it falls in, or in none where one has no room.
--
-- KEYS  two for each window: its count; until when its kind is closed
-- ARGV  1 the venue's time (µs since 1970), then three for each window: what the request adds, the most the window may
--       count, how long the count is kept (ms)
-- Returns {'charged'} · {'closed', which window (from 0), until (µs)} · {'exhausted', which window (from 0)}
-- Run by EVAL and without an epoch: these keys are no part of what the journal rebuilds.
local windows = #KEYS / 2
for n = 1, windows do
  local closed = redis.call('GET', KEYS[2 * n])
  if closed and tonumber(ARGV[1]) < tonumber(closed) then return {'closed', tostring(n - 1), closed} end
end
for n = 1, windows do
  local used = tonumber(redis.call('GET', KEYS[2 * n - 1]) or '0')
  if used + tonumber(ARGV[3 * n - 1]) > tonumber(ARGV[3 * n]) then return {'exhausted', tostring(n - 1)} end
end
for n = 1, windows do
  redis.call('INCRBY', KEYS[2 * n - 1], ARGV[3 * n - 1])
  redis.call('PEXPIRE', KEYS[2 * n - 1], ARGV[3 * n + 1])
end
return {'charged'}
