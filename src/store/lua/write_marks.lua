-- Writes a part of the marks of a day that the worker is about to begin, under the worker's own key.
--
-- KEYS  1 meta, 2 the key · ARGV  1 epoch, 2 time to live (ms), then instrument, price, instrument, price, …
-- Returns {'written'}
local bad = stale()
if bad then return bad end
redis.call('HSET', KEYS[2], unpack(ARGV, 3))
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {'written'}
