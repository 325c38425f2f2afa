-- Reads the marks at a day's start.
--
-- KEYS  1 meta, 2 state, 3 the marks · ARGV  1 epoch, 2 date
-- Returns {'marks', instrument, price, …}, or {'not_begun'} where that day is not in force
local bad = stale()
if bad then return bad end
if redis.call('HGET', KEYS[2], 'trading_date') ~= ARGV[2] then return {'not_begun'} end
-- Lua unpacks at most some thousand values: the marks of ten thousand instruments are more.
local answer = redis.call('HGETALL', KEYS[3])
table.insert(answer, 1, 'marks')
return answer
