-- Releases a claim that was never sent: everything it reserved is released, and the id is free again. An order that was
-- released before, on the journal, is so again.
--
-- KEYS  1 meta, 2 leases, 3 order record, 4 open set, 5 what makes another order its duplicate,
--       6 keys of the open sets, then those of the owner
-- ARGV  1 epoch, 2 name, 3 lease token, 4 owner and moves (MessagePack), 5 ttl of a released order (ms)
-- Returns {'released'}, or {'kept'} where the order is not claimed under this lease (any more).
local bad = stale()
if bad then return bad end
local known = redis.call('HMGET', KEYS[3], 'st', 'tok', 'rt')
if known[1] ~= 'claimed' or known[2] ~= ARGV[3] then return {'kept'} end
local reserved = cmsgpack.unpack(ARGV[4])
if not move_both(reserved[1], reserved[2]) then return {'kept'} end
write_ledgers()
if known[3] then
  redis.call('HSET', KEYS[3], 'st', 'released', 'tok', known[3])
  redis.call('HDEL', KEYS[3], 'doc', 'rt')
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
else
  redis.call('DEL', KEYS[3])
end
redis.call('ZREM', KEYS[2], ARGV[2])
leave_open(KEYS[4], ARGV[2], KEYS[6])
if redis.call('GET', KEYS[5]) == ARGV[2] then redis.call('DEL', KEYS[5]) end
return {'released'}
