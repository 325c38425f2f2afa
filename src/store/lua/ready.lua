-- Returns the names in a sorted set whose moment has come.
--
-- KEYS  1 meta, 2 the set (`leases`, `outbox`, `adjustments` or `due:…`)
-- ARGV  1 epoch, 2 how long past their moment (ms), 3 how many to leave out, 4 the most
-- Returns {'names', name, …}, the longest waiting first.
local bad = stale()
if bad then return bad end
local before, first = now_ms() - tonumber(ARGV[2]), tonumber(ARGV[3])
-- By rank: a range by score passes over every name that it leaves out.
local names = redis.call('ZRANGE', KEYS[2], first, first + tonumber(ARGV[4]) - 1, 'WITHSCORES')
local answer = {'names'}
for at = 1, #names, 2 do
  if tonumber(names[at + 1]) > before then break end
  answer[#answer + 1] = names[at]
end
return answer
