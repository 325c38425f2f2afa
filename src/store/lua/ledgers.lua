-- Reads ledgers, each at one moment.
--
-- KEYS  1 meta, then the ledgers · ARGV  1 epoch
-- Returns for each ledger {'ledger', the present moment (ms, Redis' clock), then field and value of each field}, and
-- behind them the time of the call (us)
local bad = stale()
if bad then return bad end
local now = string.format('%.0f', now_ms())
local answers = {}
for at = 2, #KEYS do answers[#answers + 1] = {'ledger', now, unpack(redis.call('HGETALL', KEYS[at]))} end
answers[#answers + 1] = time_spent_us()
return answers
