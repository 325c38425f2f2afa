-- Reads everything that orders are judged by beyond the settings.
--
-- KEYS  1 meta, 2 state, 3 latches, 4 document of the limits
-- ARGV  1 epoch, 2 hash of the limits whose document the caller has, or ''
-- Returns {'control', generation, version, mode or '', trading state or '', daily notional limit (1e-6) or '',
--         daily loss limit (1e-6) or '', trading date or '', hash of the limits in force or '', their document or '' where
--         the caller has it, then the document of each latch}
local bad = stale()
if bad then return bad end
local known = redis.call('HMGET', KEYS[2], 'generation', 'version', 'mode', 'trading_state', 'daily_notional_limit',
  'daily_loss_limit', 'trading_date')
local answer = {'control', known[1] or '0', known[2] or '0'}
for at = 3, 7 do answer[at + 1] = known[at] or '' end
local limits = redis.call('HGET', KEYS[1], 'limits_hash') or ''
answer[9] = limits
answer[10] = limits ~= ARGV[2] and redis.call('GET', KEYS[4]) or ''
for _, document in ipairs(redis.call('HVALS', KEYS[3])) do answer[#answer + 1] = document end
return answer
