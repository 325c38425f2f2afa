-- Drops keys that a rebuild has loaded which did not finish.
--
-- KEYS  1 meta, 2 lease of the rebuild, then the keys · ARGV  1 the rebuild's epoch, 2 lease (ms)
-- Returns {'cleared'}.
local bad = stale()
if bad then return bad end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('UNLINK', unpack(KEYS, 3))
return {'cleared'}
