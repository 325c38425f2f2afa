-- Returns what is known of several orders that have not ended.
--
-- KEYS  1 meta, then order records · ARGV  1 epoch
-- Returns {'records', then for each record its stage, order id, version, journaled version and document, or a lone '' where
--         there is none}
local bad = stale()
if bad then return bad end
local answer = {'records'}
for at = 2, #KEYS do
  local known = redis.call('HMGET', KEYS[at], 'st', 'o', 'v', 'jv', 'doc')
  answer[#answer + 1] = known[1] or ''
  if known[1] then
    for field = 2, 4 do answer[#answer + 1] = known[field] end
    answer[#answer + 1] = known[5] or ''
  end
end
return answer
