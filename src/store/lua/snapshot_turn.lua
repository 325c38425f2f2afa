-- Gives one worker at a time the turn to make a snapshot.
--
-- KEYS  1 meta, 2 turn · ARGV  1 epoch, 2 the worker's token, 3 how long the turn lasts (ms), or 0 to end it
-- Returns {'yours'} · {'taken'} where another worker has the turn
-- Idempotent: the same worker extends its turn.
local bad = stale()
if bad then return bad end
local holder = redis.call('GET', KEYS[2])
if holder and holder ~= ARGV[2] then return {'taken'} end
if ARGV[3] == '0' then
  redis.call('DEL', KEYS[2])
else
  redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
end
return {'yours'}
