-- Counts sets of open orders.
--
-- KEYS  1 meta, then the sets · ARGV  1 epoch
-- Returns {'counts', number of members of each set}
local bad = stale()
if bad then return bad end
local answer = {'counts'}
for at = 2, #KEYS do answer[at] = tostring(redis.call('SCARD', KEYS[at])) end
return answer
