-- Releases an order that may be on the journal as being submitted: what it reserved is released, and its id is free for
-- the same order once the release is on the journal, too.
--
-- KEYS  1 meta, 2 leases, 3 outbox, 4 order record, 5 open set, 6 keys of the open sets,
--       7 what makes another order its duplicate, then those of the owner
-- ARGV  1 epoch, 2 name, 3 lease token, 4 owner and moves (MessagePack), 5 document of the release,
--       6 `claimed`, or `sending` where the holder of the lease knows that nothing was sent
-- Returns {'released'}, or {'kept'} where the order is not so under this lease (any more).
local bad = stale()
if bad then return bad end
local known = redis.call('HMGET', KEYS[4], 'st', 'tok')
if known[2] ~= ARGV[3] then return {'kept'} end
if known[1] ~= 'claimed' and not (known[1] == 'sending' and ARGV[6] == 'sending') then return {'kept'} end
local reserved = cmsgpack.unpack(ARGV[4])
if not move_both(reserved[1], reserved[2]) then return {'kept'} end
write_ledgers()
redis.call('HSET', KEYS[4], 'st', 'releasing', 'doc', ARGV[5], 'by', ARGV[1])
redis.call('HDEL', KEYS[4], 'net', 'sent', 'req')
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('ZADD', KEYS[3], 'NX', now_ms(), ARGV[2])
leave_open(KEYS[5], ARGV[2], KEYS[6])
if redis.call('GET', KEYS[7]) == ARGV[2] then redis.call('DEL', KEYS[7]) end
return {'released'}
