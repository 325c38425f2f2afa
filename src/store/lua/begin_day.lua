-- Begins a trading day: from here on daily sums count for it. A date never goes back. Nothing is moved in any ledger:
-- the first move of the day in each begins its day there.
--
-- KEYS  1 meta, 2 state, then for each mode the marks at the day's start, those of the day before, and where the worker has
--       written the marks
-- ARGV  1 epoch, 2 date, 3 the date before it or '', 4 time to live of the day before's marks (ms), then for each mode how
--       many marks there are
-- Returns {'begun', date} · {'kept', date}: this day, or a later one, has begun already
--         {'superseded', date or ''}: the day before is another one · {'unwritten'}: marks that were written are gone
-- However many marks there are, the call takes as long.
local bad = stale()
if bad then return bad end
local stored = redis.call('HGET', KEYS[2], 'trading_date') or ''
if stored >= ARGV[2] or stored ~= ARGV[3] then
  for at = 5, #KEYS, 3 do redis.call('UNLINK', KEYS[at]) end
  return {stored >= ARGV[2] and 'kept' or 'superseded', stored}
end
for mode = 1, #ARGV - 4 do
  if redis.call('HLEN', KEYS[3 * mode + 2]) ~= tonumber(ARGV[4 + mode]) then return {'unwritten'} end
end
for mode = 1, #ARGV - 4 do
  local marks, before, written = KEYS[3 * mode], KEYS[3 * mode + 1], KEYS[3 * mode + 2]
  if ARGV[4 + mode] == '0' then
    redis.call('UNLINK', marks)
  else
    redis.call('PERSIST', written)
    redis.call('RENAME', written, marks)
  end
  redis.call('PEXPIRE', before, ARGV[4])
end
redis.call('HSET', KEYS[2], 'trading_date', ARGV[2])
redis.call('HINCRBY', KEYS[2], 'generation', 1)
return {'begun', ARGV[2]}
