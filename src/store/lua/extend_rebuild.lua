-- Extends the lease of a rebuild.
--
-- KEYS  1 meta, 2 lease of the rebuild · ARGV  1 the rebuild's epoch, 2 lease (ms)
-- Returns {'extended'}, or {'stale', epoch} where another worker has taken over.
-- A lease that has ended is taken again: the epoch shows that no other rebuild has begun.
local bad = stale()
if bad then return bad end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'extended'}
