-- Reads alerts that are not published, or takes published ones out of their outbox.
--
-- KEYS  1 meta, 2 documents of the alerts, 3 their names by moment
-- ARGV  1 epoch, 2 `list`, how long they must have waited (ms), the most · `remove`, name, …
-- Returns {'alerts', name, document, …}, the longest waiting first; {'removed'}
local bad = stale()
if bad then return bad end
if ARGV[2] == 'remove' then
  for at = 3, #ARGV do
    redis.call('HDEL', KEYS[2], ARGV[at])
    redis.call('ZREM', KEYS[3], ARGV[at])
  end
  return {'removed'}
end
local before = string.format('%.0f', (now_ms() + 1 - tonumber(ARGV[3])) * 1000)
local answer = {'alerts'}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', before, 'LIMIT', 0, ARGV[4])) do
  answer[#answer + 1] = name
  answer[#answer + 1] = redis.call('HGET', KEYS[2], name) or ''
end
return answer
