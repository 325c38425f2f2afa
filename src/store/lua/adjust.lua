-- Books one adjustment under its id, once: its moves, its record, and its event as waiting for the journal.
--
-- KEYS  1 meta, 2 state, 3 adjustments that wait for the journal, 4 the adjustment's record, then those of the owner
-- ARGV  1 epoch, 2 adjustment id, 3 content hash, 4 hash of the event, 5 event (the journal's document), 6 mode that
--       has to be in force, or '',
--       7 trading date or '', 8 deadline (ms, Redis' clock), 9 1 where Redis is full, else 0,
--       10 most adjustments that may wait, 11 owner and moves (MessagePack), or '' where no sum moves
-- Returns {'known', content hash, event, journal sequence or '0'} · {'booked'}
--         {'moved_on'}: another mode or trading date is in force · {'late'} past the deadline
--         {'full'} · {'inexact'}: a sum would leave the exact range
--         {'priced', count}: it prices the fees of more fills than the account has without a price
-- Idempotent: an adjustment that is booked already is answered 'known' and changes nothing.
local bad = stale()
if bad then return bad end
local known = redis.call('HMGET', KEYS[4], 'h', 'doc', 'seq')
if known[1] then return {'known', known[1], known[2], known[3]} end
local now = now_ms()
if now >= tonumber(ARGV[8]) then return {'late'} end
local state = redis.call('HMGET', KEYS[2], 'mode', 'trading_date')
if ARGV[6] ~= '' and (state[1] or 'paper') ~= ARGV[6] then return {'moved_on'} end
if (state[2] or '') ~= ARGV[7] then return {'moved_on'} end
if ARGV[9] == '1' or redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[10]) then
  return {'full'}
end
if ARGV[11] ~= '' then
  local booked = cmsgpack.unpack(ARGV[11])
  local account = open_both(unpack(booked[1]))
  if booked[2][UNPRICED] < 0 and account.unpriced + booked[2][UNPRICED] < 0 then
    return {'priced', string.format('%.0f', account.unpriced)}
  end
  if not move_both(booked[1], booked[2]) then return {'inexact'} end
  write_ledgers()
end
redis.call('HSET', KEYS[4], 'h', ARGV[3], 'e', ARGV[4], 'doc', ARGV[5], 'seq', '0')
redis.call('ZADD', KEYS[3], now, ARGV[2])
return {'booked'}
