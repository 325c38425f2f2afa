-- Applies an adjustment of the journal to a store that is being rebuilt, or a late one after it: each id once.
--
-- KEYS  1 meta, 2 lease of the rebuild, 3 adjustments that wait for the journal, 4 the adjustment's record, then those of the owner
-- ARGV  1 the rebuild's epoch, or the one in force, 2 lease (ms), 3 adjustment id, 4 content hash, 5 hash of the event,
--       6 event, 7 journal sequence, 8 time to live of the record (ms), never 0: a repeated event must find that the
--       first has been counted, 9 owner and moves (MessagePack), or '' where no sum moves
-- Returns {'replayed', 1 where it changed the sums, else 0}. Of two events for one id the first counts; one that is
-- booked already only counts as journaled.
local bad = stale()
if bad then return bad end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local changed = 0
local known = redis.call('HMGET', KEYS[4], 'e', 'seq')
if not known[1] then
  if ARGV[9] ~= '' then
    local booked = cmsgpack.unpack(ARGV[9])
    force_both(booked[1], booked[2])
    write_ledgers()
  end
  redis.call('HSET', KEYS[4], 'h', ARGV[4], 'e', ARGV[5], 'doc', ARGV[6], 'seq', ARGV[7])
  redis.call('PEXPIRE', KEYS[4], ARGV[8])
  changed = 1
elseif known[1] == ARGV[5] and known[2] == '0' then
  redis.call('HSET', KEYS[4], 'seq', ARGV[7])
  redis.call('PEXPIRE', KEYS[4], ARGV[8])
  redis.call('ZREM', KEYS[3], ARGV[3])
end
note_replayed(tonumber(ARGV[7]))
raise_watermark(tonumber(ARGV[7]))
return {'replayed', changed}
