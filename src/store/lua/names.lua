-- Returns names that stand in an index or in a set, under the epoch: an emptied store must not answer "none".
--
-- KEYS  1 meta, 2 an index key, a set of open orders, or the set of those sets · ARGV  1 epoch, 2 `index` or `open`, 3 the most
-- Returns {'names', name, …}
local bad = stale()
if bad then return bad end
local answer = {}
if ARGV[2] == 'index' then
  local name = redis.call('GET', KEYS[2])
  if name then answer = {name} end
else
  answer = redis.call('SRANDMEMBER', KEYS[2], ARGV[3])
end
table.insert(answer, 1, 'names')
return answer
