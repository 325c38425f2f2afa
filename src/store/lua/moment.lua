-- Returns the present moment, where the store is the caller's: what its transaction reads behind this is of this store, too.
--
-- KEYS  1 meta · ARGV  1 epoch
-- Returns {'moment', the present moment (ms, Redis' clock)}
local bad = stale()
if bad then return bad end
return {'moment', string.format('%.0f', now_ms())}
