-- Turns a claimed order into one that is being sent, immediately before the first byte: from here on no worker releases it.
--
-- KEYS  1 meta, 2 leases, 3 order record, 4 state
-- ARGV  1 epoch, 2 name, 3 order id, 4 lease token, 5 lease (ms), 6 deadline (ms, Redis' clock)
--       7 the timestamp the request carries, 8 journal sequence of its submitting event
--       9 what it reserves (moves, in one text), for the worker that has to undo it
-- Returns {'sending'} · {'lease'} not claimed under this lease (any more) · {'late'} past the deadline ·
--         {'halted'} trading is halted
-- Idempotent: the same start a second time is answered 'sending' and changes nothing.
local bad = stale()
if bad then return bad end
local known = redis.call('HMGET', KEYS[3], 'st', 'o', 'tok', 'req')
if known[2] ~= ARGV[3] or known[3] ~= ARGV[4] then return {'lease'} end
if known[1] == 'sending' and known[4] == ARGV[7] then return {'sending'} end
if known[1] ~= 'claimed' then return {'lease'} end
local now = now_ms()
if now >= tonumber(ARGV[6]) then return {'late'} end
if redis.call('HGET', KEYS[4], 'trading_state') == 'halted' then return {'halted'} end
redis.call('HSET', KEYS[3], 'st', 'sending', 'sent', string.format('%.0f', now), 'req', ARGV[7], 'sq', ARGV[8],
  'net', ARGV[9])
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[5]), ARGV[2])
return {'sending'}
