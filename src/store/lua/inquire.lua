-- Gives one worker the turn to ask a venue what became of an order, and takes note of what came of it.
--
-- KEYS  1 meta, 2 due set, 3 order record
-- ARGV  1 epoch, 2 `take`, `not_found` or `unanswered`, 3 name, 4 order id, 5 token of the turn
--       6 `take`: how long the turn lasts (ms); else: the pause after the first question (ms), 7 the longest pause (ms)
-- Returns {'yours', not-founds so far, ms since its sending} · {'not'} it is not due, or no more to be asked about
--         {'lost'} the turn is another's by now · for both see `take`
-- The time since the sending counts from the first question where a rebuild does not know it.
local bad = stale()
if bad then return bad end
local now = now_ms()
local known = redis.call('HMGET', KEYS[3], 'st', 'o', 'tok')
local is_it = known[1] == 'open' and known[2] == ARGV[4]
if ARGV[2] == 'take' then
  local due = redis.call('ZSCORE', KEYS[2], ARGV[3])
  if not is_it or not due or tonumber(due) > now then return {'not'} end
  redis.call('HSET', KEYS[3], 'tok', ARGV[5])
  redis.call('HSETNX', KEYS[3], 'sent', string.format('%.0f', now))
  redis.call('ZADD', KEYS[2], now + tonumber(ARGV[6]), ARGV[3])
else
  if not is_it or known[3] ~= ARGV[5] then return {'lost'} end
  if ARGV[2] == 'not_found' then redis.call('HINCRBY', KEYS[3], 'missed', 1) end
  local asked = redis.call('HINCRBY', KEYS[3], 'asked', 1)
  local pause = math.min(tonumber(ARGV[7]), tonumber(ARGV[6]) * 2 ^ math.min(asked - 1, 30))
  redis.call('ZADD', KEYS[2], now + math.floor(pause), ARGV[3])
end
local missed = redis.call('HMGET', KEYS[3], 'missed', 'sent')
return {'yours', missed[1] or '0', string.format('%.0f', math.max(0, now - tonumber(missed[2])))}
