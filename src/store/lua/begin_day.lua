-- Begins a trading day, all or nothing: from here on daily figures count for it. A date never goes back.
--
-- KEYS  1 meta, 2 state, then the day's start of each mode, then the start of the day before of each mode
-- ARGV  1 epoch, 2 date, 3 the date before it or '', 4 time to live of the day before's starts (ms),
--       then for each mode (JSON) {a = {{account, equity (1e-6), as text}, …}, s = {{field, text}, …}}
-- Returns {'begun', date} · {'kept', date}: this day, or a later one, has begun already
--         {'superseded', date or ''}: the day before is another one
local bad = stale()
if bad then return bad end
local stored = redis.call('HGET', KEYS[2], 'trading_date') or ''
if stored >= ARGV[2] then return {'kept', stored} end
if stored ~= ARGV[3] then return {'superseded', stored} end
local modes = (#KEYS - 2) / 2
local starts = {}
for mode = 1, modes do starts[mode] = cjson.decode(ARGV[4 + mode]) end
for mode = 1, modes do
  local key = KEYS[2 + mode]
  for _, start in ipairs(starts[mode].a) do redis.call('HSET', key, start[1], start[2]) end
  for _, start in ipairs(starts[mode].s) do redis.call('HSET', key, start[1], start[2]) end
  redis.call('PERSIST', key)
  redis.call('PEXPIRE', KEYS[2 + modes + mode], ARGV[4])
end
redis.call('HSET', KEYS[2], 'trading_date', ARGV[2])
redis.call('HINCRBY', KEYS[2], 'generation', 1)
return {'begun', ARGV[2]}
