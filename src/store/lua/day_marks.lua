-- Reports whether a day is in force: its marks are complete then, and stay as they are.
--
-- KEYS  1 meta, 2 state · ARGV  1 epoch, 2 date
-- Returns {'begun'} or {'not_begun'}
local bad = stale()
if bad then return bad end
return {redis.call('HGET', KEYS[2], 'trading_date') == ARGV[2] and 'begun' or 'not_begun'}
