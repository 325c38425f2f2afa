-- Reads everything that orders are judged by beyond the settings.
--
-- KEYS  1 meta, 2 state, 3 latches · ARGV  1 epoch
-- Returns {'control', generation, version, mode or '', trading state or '', daily notional limit (1e-6) or '',
--         daily loss limit (1e-6) or '', trading date or '', then the document of each latch}
local bad = stale()
if bad then return bad end
local known = redis.call('HMGET', KEYS[2], 'generation', 'version', 'mode', 'trading_state', 'daily_notional_limit',
  'daily_loss_limit', 'trading_date')
local answer = {'control', known[1] or '0', known[2] or '0'}
for at = 3, 7 do answer[at + 1] = known[at] or '' end
for _, document in ipairs(redis.call('HVALS', KEYS[3])) do answer[#answer + 1] = document end
return answer
