-- Returns the name in an index, under the epoch: an emptied store must not answer "none".
--
-- KEYS  1 meta, 2 an index key · ARGV  1 epoch
-- Returns {'names', name}, or {'names'} where there is none
local bad = stale()
if bad then return bad end
local name = redis.call('GET', KEYS[2])
if not name then return {'names'} end
return {'names', name}
