-- Counts, in one look, what operators measure of the shared state.
--
-- KEYS  1 meta, 2 outbox, 3 leases, 4 open sets, 5 ledger of all accounts, then the due sets that are counted
-- ARGV  1 epoch, 2 the day
-- Returns {'figures', count of the outbox, age of its oldest (ms), count of the leases, highest marked sequence,
--         the day's routed notional (1e-6), how many open sets there are, then the count of each due set}
local bad = stale()
if bad then return bad end
local oldest = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2]
local day, notional = read_sums(redis.call('HGET', KEYS[5], 'sums'))
local answer = {
  'figures',
  tostring(redis.call('ZCARD', KEYS[2])),
  oldest and string.format('%.0f', math.max(0, now_ms() - oldest)) or '0',
  tostring(redis.call('ZCARD', KEYS[3])),
  redis.call('HGET', KEYS[1], 'journal_sequence') or '0',
  string.format('%.0f', day == tonumber(ARGV[2]) and notional or 0),
  tostring(redis.call('SCARD', KEYS[4])),
}
for at = 6, #KEYS do answer[#answer + 1] = tostring(redis.call('ZCARD', KEYS[at])) end
return answer
