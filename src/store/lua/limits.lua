-- Puts the limits of a journal event in force, unless a later event's are, or reads which are.
--
-- KEYS  1 meta, 2 state, 3 document of the limits
-- ARGV  1 epoch, 2 `read` · `set`, journal sequence of the event, hash of its limits, its document
-- Returns {'limits', journal sequence of the event in force or 0, its hash or ''}
-- A change raises the generation: orders that were judged under other limits are judged again.
-- Idempotent: an event is put in force once, by its sequence.
local bad = stale()
if bad then return bad end
if ARGV[2] == 'set' and tonumber(ARGV[3]) > sum(KEYS[1], 'limits_sequence') then
  redis.call('HSET', KEYS[1], 'limits_sequence', ARGV[3], 'limits_hash', ARGV[4])
  redis.call('SET', KEYS[3], ARGV[5])
  redis.call('HINCRBY', KEYS[2], 'generation', 1)
end
local known = redis.call('HMGET', KEYS[1], 'limits_sequence', 'limits_hash')
return {'limits', known[1] or '0', known[2] or ''}
