-- Marks an adjustment as being on the journal: it waits no longer, and its record lives as long as ids are remembered.
--
-- KEYS  1 meta, 2 adjustments that wait for the journal, 3 the adjustment's record
-- ARGV  1 epoch, 2 adjustment id, 3 hash of the event, 4 journal sequence, 5 time to live of the record (ms)
-- Returns {'marked'} · {'lost'}: the store does not know the adjustment, as after a loss of its last writes; the watermark
--         does not pass it until it is replayed
--         {'void'}: the id belongs to another event
-- Idempotent: the first sequence stays.
local bad = stale()
if bad then return bad end
local known = redis.call('HMGET', KEYS[3], 'e', 'seq')
if not known[1] then
  note_lost(tonumber(ARGV[4]))
  return {'lost'}
end
if known[1] ~= ARGV[3] then return {'void'} end
if known[2] == '0' then
  redis.call('HSET', KEYS[3], 'seq', ARGV[4])
  redis.call('PEXPIRE', KEYS[3], ARGV[5])
end
redis.call('ZREM', KEYS[2], ARGV[2])
raise_watermark(tonumber(ARGV[4]))
return {'marked'}
