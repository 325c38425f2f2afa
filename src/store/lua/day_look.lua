-- Reads, in one look, everything that orders are judged by beyond the settings, the sums of a mode's accounts, and what
-- they were worth at a day's start.
--
-- KEYS  1 meta, 2 state, 3 latches, 4 names of sums, 5 a day's start
-- ARGV  1 epoch, 2 what opens the key of a hash of sums (its name follows; all share the hash tag of KEYS), 3 most names
-- Returns {'day', what `control.lua` returns after its verdict, with the count of the latches before them,
--         the present moment (ms, Redis' clock), the count of the names, name, position (lots), cash flow (1e-6), fees (1e-6), base fees (1e-8) of each,
--         then field and value of each field of the day's start}
--         {'many', count} where there are more names than that
local bad = stale()
if bad then return bad end
local count = redis.call('SCARD', KEYS[4])
if count > tonumber(ARGV[3]) then return {'many', tostring(count)} end
local known = redis.call('HMGET', KEYS[2], 'generation', 'version', 'mode', 'trading_state', 'daily_notional_limit',
  'daily_loss_limit', 'trading_date')
local answer = {'day', known[1] or '0', known[2] or '0'}
for at = 3, 7 do answer[at + 1] = known[at] or '' end
local latches = redis.call('HVALS', KEYS[3])
answer[#answer + 1] = tostring(#latches)
for _, document in ipairs(latches) do answer[#answer + 1] = document end
answer[#answer + 1] = string.format('%.0f', now_ms())
answer[#answer + 1] = tostring(count)
for _, name in ipairs(redis.call('SMEMBERS', KEYS[4])) do
  local sums = redis.call('HMGET', ARGV[2] .. name, 'position', 'cash_flow', 'fees', 'base_fees')
  answer[#answer + 1] = name
  for at = 1, 4 do answer[#answer + 1] = sums[at] or '0' end
end
for _, part in ipairs(redis.call('HGETALL', KEYS[5])) do answer[#answer + 1] = part end
return answer
