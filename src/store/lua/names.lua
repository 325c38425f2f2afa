-- Returns names that stand in a set, under the epoch: an emptied store must not answer "none".
--
-- KEYS  1 meta, 2 a set of open orders, or the set of those sets · ARGV  1 epoch, 2 the most
-- Returns {'names', name, …}
local bad = stale()
if bad then return bad end
local answer = redis.call('SRANDMEMBER', KEYS[2], ARGV[2])
table.insert(answer, 1, 'names')
return answer
