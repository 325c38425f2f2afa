-- Counts one call in this second, for each of the rates it belongs to, or for none where one has no room.
--
-- KEYS  1 meta, then one for each rate · ARGV  1 epoch, then the most calls of a second for each
-- Returns {'counted'}, or {'over', which (from 0), the most}
local bad = stale()
if bad then return bad end
local second = math.floor(now_ms() / 1000)
local counts = {}
for at = 2, #KEYS do
  local known = redis.call('HMGET', KEYS[at], 'second', 'count')
  counts[at] = tonumber(known[1]) == second and tonumber(known[2]) or 0
  if counts[at] >= tonumber(ARGV[at]) then return {'over', tostring(at - 2), ARGV[at]} end
end
for at = 2, #KEYS do
  redis.call('HSET', KEYS[at], 'second', second, 'count', counts[at] + 1)
  redis.call('PEXPIRE', KEYS[at], 2000)
end
return {'counted'}
