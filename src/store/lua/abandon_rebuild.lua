-- Ends a rebuild that has failed, so that another can begin at once. The store stays out of use.
--
-- KEYS  1 meta, 2 lease of the rebuild · ARGV  1 the rebuild's epoch
-- Returns {'abandoned'}, or {'stale', epoch} where another worker has taken over.
local bad = stale()
if bad then return bad end
redis.call('DEL', KEYS[2])
return {'abandoned'}
