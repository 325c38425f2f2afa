-- Returns what is known of an adjustment.
--
-- KEYS  1 meta, 2 the adjustment's record · ARGV  1 epoch
-- Returns {'unknown'} or {'known', content hash, event, journal sequence or '0'}
local bad = stale()
if bad then return bad end
local known = redis.call('HMGET', KEYS[2], 'h', 'doc', 'seq')
if not known[1] then return {'unknown'} end
return {'known', known[1], known[2], known[3]}
