-- Books one effect of an order: its next version, the moves of the sums, and the event in the outbox, all or nothing.
--
-- KEYS  1 meta, 2 leases, 3 outbox, 4 state, 5 keys of the open sets, then those the commands name by their index
-- ARGV  1 epoch, then for each order a command (MessagePack values, one behind the other: the fields below) and a document
-- Returns for each order
--         {'booked', loss of the account or '', of all accounts or '', then version and document of each event before this
--         one that is not on the journal, in order}: a loss is there where it has reached its limit
--         {'superseded', document}: another effect came first; the order's latest document ('' once journaled and ended)
--         {'lease'} the lease is another's · {'late'} past the deadline · {'halted'} nothing new takes effect
--         {'crosses', position (1e-8)}: a reducing fill would cross zero · {'missing'} or another order's id
--         {'inexact'}: a sum would leave the exact range · {'failed', error}: it may be booked
-- and behind them the time of the call (us).
-- Idempotent: the same settlement a second time is answered 'booked' and changes nothing.
--
-- A command, by position: 1 its moves (`prelude.lua`); key indices of 16 record, 17 open set and 18 due set, 19 name, 20 order
-- id, 21 the version this builds on, 22 the lease it needs or '', 23 the settlement's own id, 24 deadline (ms, Redis' clock)
-- or 0, 25 stage after it ('open' or 'ended'), 26 next due moment (ms) or 0, 27 to 30 the arguments of `open_both`, 31 whether
-- its fills only reduce a position, 32 to 35 the watches, 36 whether a replace is pending: inquiries about it begin from zero,
-- 37 the settlement that made the version this builds on, or '': of two effects of one number one was lost with its Redis.
local NAME, ORDER_ID, VERSION, TOKEN, SETTLEMENT, DEADLINE, STAGE, BASE = 19, 20, 21, 22, 23, 24, 25, 37
local bad = stale()
if bad then return bad end
local now = now_ms()

local trading_state

local function is_halted()
  trading_state = trading_state or redis.call('HGET', KEYS[4], 'trading_state') or 'active'
  return trading_state == 'halted'
end

-- An order that has ended has an entry only: an effect of it makes a record again.
local function read_ended(c)
  local entry = recall(c[NAME])
  local e = entry and read_entry(entry)
  if not e or not is_entry_of(e, c[ORDER_ID]) then return nil end
  local made_by
  if e.version == c[VERSION] + 1 and e.settlement == end_of(c[SETTLEMENT]) then made_by = c[SETTLEMENT] end
  if e.version == c[VERSION] and e.settlement == end_of(c[BASE]) then made_by = c[BASE] end
  return {e.stage, e.version, e.version, '', made_by, c[ORDER_ID]}, e
end

local function one(packed, doc)
  local c = {cmsgpack.unpack(packed)}
  local record, ended = KEYS[c[16]], nil
  local known = redis.call('HMGET', record, 'st', 'v', 'jv', 'tok', 'sid', 'o')
  if not known[1] then known, ended = read_ended(c) end
  if not known or known[6] ~= c[ORDER_ID] then return {'missing'} end
  -- It was released, and nothing of it was sent.
  if known[1] == 'releasing' or known[1] == 'released' then return {'missing'} end
  local version, journaled = tonumber(known[2]), tonumber(known[3])
  if known[1] == 'denied' then return {'superseded', redis.call('HGET', record, 'doc') or ''} end
  local made_by = ended and known[5] or not ended and newest_settlement(record, version, known[5]) or ''
  if made_by == c[SETTLEMENT] then
    local before = redis.call('HGET', record, 'p:' .. (version - 1))
    return pending({'booked', '', ''}, record, journaled, version - 1, before or nil)
  end
  if version ~= c[VERSION] or made_by ~= c[BASE] then return {'superseded', redis.call('HGET', record, 'doc') or ''} end
  if c[TOKEN] ~= '' and known[4] ~= c[TOKEN] then return {'lease'} end
  if c[DEADLINE] > 0 and now >= c[DEADLINE] then return {'late'} end
  -- A deadline stands where this settlement is the sending: a paper venue's effect may not begin while trading is halted.
  if c[DEADLINE] > 0 and is_halted() then return {'halted'} end
  local account, holding, total, net = open_both(c[27], c[28], c[29], c[30])
  if c[31] and (c[POSITION] ~= 0 or c[POSITION + 1] ~= 0) and crosses(holding, c) then
    return {'crosses', write_pair(holding.position, holding.position_rest)}
  end
  if not moves_fit(account, holding, c) or not moves_fit(total, net, c) then return {'inexact'} end
  move(account, holding, c)
  move(total, net, c)
  local answer = {
    'booked', watch(account, c[DAY], c[32], c[33]), watch(total, c[DAY], c[34], c[35]),
  }
  keep_pending(answer, record, journaled, version)
  if c[36] then redis.call('HDEL', record, 'asked', 'missed', 'sent') end
  redis.call('HSET', record, 'st', c[STAGE], 'v', version + 1, 'sid', c[SETTLEMENT], 'doc', doc, 'tok', '')
  if ended then
    redis.call('HSET', record, 'h', ended.content, 'o', c[ORDER_ID], 'jv', version,
      'seq', string.format('%.0f', ended.sequence), 'fs', string.format('%.0f', ended.first))
  end
  if known[4] and known[4] ~= '' then redis.call('ZREM', KEYS[2], c[NAME]) end
  redis.call('ZADD', KEYS[3], 'NX', now, c[NAME])
  local open_set, due_set, due_at = KEYS[c[17]], KEYS[c[18]], c[26]
  if c[STAGE] == 'ended' then leave_open(open_set, c[NAME], KEYS[5]) else enter_open(open_set, c[NAME], KEYS[5]) end
  if due_at > 0 then
    redis.call('ZADD', due_set, integer(due_at), c[NAME])
  elseif version > 0 then
    -- A claimed order has nothing due.
    redis.call('ZREM', due_set, c[NAME])
  end
  return answer
end

local answers = {}
for at = 2, #ARGV, 2 do
  if #answers > 1 and is_long() then break end
  answers[#answers + 1] = answer_for(one, ARGV[at], ARGV[at + 1])
end
write_ledgers()
answers[#answers + 1] = time_spent_us()
return answers
