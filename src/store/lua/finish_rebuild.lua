-- Ends a rebuild: the new epoch is in force.
--
-- KEYS  1 meta, 2 lease of the rebuild, 3 state · ARGV  1 the rebuild's epoch, 2 the new epoch, 3 creation time of the journal,
--       4 the first journal sequence that was not replayed, 5 how long late events may still come (ms)
-- The generation of what orders are judged by goes on from the epoch: it is above every one that a worker may still hold.
-- Returns {'finished'}, or {'stale', epoch} where another worker has taken over.
local bad = stale()
if bad then return bad end
redis.call('HSET', KEYS[1], 'epoch', ARGV[2], 'journal_created', ARGV[3], 'late_from', ARGV[4], 'late_until',
  string.format('%.0f', now_ms() + tonumber(ARGV[5])))
-- Every event up to the end of the journal has been replayed.
redis.call('HDEL', KEYS[1], 'lost', 'loading')
-- What orders were judged by under another epoch is never taken for what is in force now.
redis.call('HSET', KEYS[3], 'generation',
  string.format('%.0f', math.max(tonumber(ARGV[2]), sum(KEYS[3], 'generation') + 1)))
redis.call('DEL', KEYS[2])
return {'finished'}
