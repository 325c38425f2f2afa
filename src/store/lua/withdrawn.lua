-- Marks a release as being on the journal: only now may the same order be claimed again.
--
-- KEYS  1 meta, 2 outbox, 3 order record
-- ARGV  1 epoch, 2 name, 3 order id, 4 lease token of the claim that was released, 5 journal sequence, 6 ttl (ms)
-- Returns {'marked'}, or {'other'} where the order has gone on.
local bad = stale()
if bad then return bad end
local known = redis.call('HMGET', KEYS[3], 'st', 'o', 'tok')
if known[1] ~= 'releasing' or known[2] ~= ARGV[3] or known[3] ~= ARGV[4] then return {'other'} end
redis.call('HSET', KEYS[3], 'st', 'released', 'sq', ARGV[5])
redis.call('HDEL', KEYS[3], 'doc')
redis.call('PEXPIRE', KEYS[3], ARGV[6])
redis.call('ZREM', KEYS[2], ARGV[2])
return {'marked'}
