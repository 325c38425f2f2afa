-- Drops keys that a healer has loaded who did not finish.
--
-- KEYS  1 meta, 2 healing lock, then the keys · ARGV  1 the healer's epoch, 2 lock (ms)
-- Returns {'cleared'}.
local bad = stale()
if bad then return bad end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('UNLINK', unpack(KEYS, 3))
return {'cleared'}
