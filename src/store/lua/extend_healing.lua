-- Extends a healing, whatever it is doing.
--
-- KEYS  1 meta, 2 healing lock · ARGV  1 the healer's epoch, 2 lock (ms)
-- Returns {'extended'}, or {'stale', epoch} where another healer has taken over.
-- A lock that has run out is taken again: the epoch shows that no other healer has begun.
local bad = stale()
if bad then return bad end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'extended'}
