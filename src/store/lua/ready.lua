-- Returns the names in a sorted set whose moment has come.
--
-- KEYS  1 meta, 2 the set (`leases`, `outbox`, `adjustments` or `due:…`)
-- ARGV  1 epoch, 2 how long past their moment (ms), 3 how many to leave out, 4 the most
-- Returns {'names', name, …}, the longest waiting first.
local bad = stale()
if bad then return bad end
local before = string.format('%.0f', now_ms() - tonumber(ARGV[2]))
local answer = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', before, 'LIMIT', ARGV[3], ARGV[4])
table.insert(answer, 1, 'names')
return answer
