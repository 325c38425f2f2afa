-- Gives a healing up, so that another can begin at once. The store stays out of use.
--
-- KEYS  1 meta, 2 healing lock · ARGV  1 the healer's epoch
-- Returns {'abandoned'}, or {'stale', epoch} where another healer has taken over.
local bad = stale()
if bad then return bad end
redis.call('DEL', KEYS[2])
return {'abandoned'}
