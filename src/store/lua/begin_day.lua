-- Begins a trading day: from here on daily sums count for it. A date never goes back. Nothing is moved in any ledger:
-- the first move of the day in each begins its day there.
--
-- KEYS  1 meta, 2 state, then the marks at the day's start of each mode, then those of the day before of each mode
-- ARGV  1 epoch, 2 date, 3 the date before it or '', 4 time to live of the day before's marks (ms),
--       then for each mode how many of the following are its own: instrument, price, instrument, price, …
-- Returns {'begun', date} · {'kept', date}: this day, or a later one, has begun already
--         {'superseded', date or ''}: the day before is another one
local bad = stale()
if bad then return bad end
local stored = redis.call('HGET', KEYS[2], 'trading_date') or ''
if stored >= ARGV[2] then return {'kept', stored} end
if stored ~= ARGV[3] then return {'superseded', stored} end
local modes = (#KEYS - 2) / 2
local at = 5
for mode = 1, modes do
  local key, count = KEYS[2 + mode], tonumber(ARGV[at])
  for field = at + 1, at + count, 2 do redis.call('HSET', key, ARGV[field], ARGV[field + 1]) end
  redis.call('PERSIST', key)
  redis.call('PEXPIRE', KEYS[2 + modes + mode], ARGV[4])
  at = at + count + 1
end
redis.call('HSET', KEYS[2], 'trading_date', ARGV[2])
redis.call('HINCRBY', KEYS[2], 'generation', 1)
return {'begun', ARGV[2]}
