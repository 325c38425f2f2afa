-- Answers a known id, or claims the order with everything it reserves: all caps hold, or nothing is reserved.
--
-- An order whose venue is the store takes its first effect in the same step: nothing stands between claim and fill.
--
-- KEYS  1 meta, 2 state, 3 leases, 4 outbox, 5 keys of the open sets, 6 documents of the alerts that are not published,
--       7 their names by moment, then those the commands name by their index
-- ARGV  1 epoch, 2 most ids that may be remembered (0: Redis is full), 3 most orders that may wait in the outbox,
--       4 how long a rule stays silent after an alert (ms), 5 how old the view may be that an order was judged by (ms),
--       6 how many caps there are, then each of them (the fields of a cap below),
--       then for each order a command (the fields below), and its document in two parts: readings come between them where
--       an effect is booked. A command and a cap are MessagePack values, one behind the other.
-- Returns for each order
--         {'known', stage, content, order id, version, journaled version, journal sequence}
--         {'remembered', entry}: the order has ended
--         {'generation', generation}: it has to be judged again
--         {'claimed' | 'over' | 'probed', readings, loss of the breach of the account or '', of all accounts or ''}
--         {'booked', the same, loss of the account or '', of all accounts or ''}: the effect is booked as well; a loss is
--         in the answer where the effect has taken it to its limit. Of a replace version and document follow of each event
--         before it that is not on the journal, in order
--         {'superseded'}: the order of a replace is not open at the version that it builds on
--         {'repeated'}: this effect was booked by an earlier call · {'late'} past its deadline · {'halted'}
--         {'crosses', position (1e-8)}: a reducing fill would cross zero
--         {'denied'} · {'over_budget'}: the account has had its denials of this hour · {'full'}
--         {'inexact'}: a sum would leave the exact range
-- The readings are numbers in one text: reduction (0 or 1), duplicate (0 or 1), the account's and the broker's orders of
-- this second before it, the account's fills whose fee has no price, then for each cap the measure before it and whether it
-- is the first to alert (0 or 1).
--         {'failed', error}: it may have taken effect
-- and behind them the time of the call (us).
-- A released order of the same order id and content counts as unknown.
-- Idempotent: a second claim or denial of the same id is answered 'known'.
-- A command, by position. Each is read in one place, into a local variable with its name.
--    1 its moves (`prelude.lua`); 16 action (`look`, `deny`, `probe`, `claim` or `replace`), 17 name, 18 order id, 19 and 20 content,
--   21 key index of the record, 22 id of the settlement ('' where it books no effect), 23 the last 30 bits of the name
--   denial, where the command ends: 24 key index of the account's budget (0: no budget applies), 25 most denials an hour
--   check: 26 to 29 the arguments of `open_both`, 30 generation of the control, 31 moment of the view it was judged by (ms,
--   Redis' clock), 32 side (1 buy, 2 sell), 33 quantity (pair), 35 trading date, 36 key index of the broker's rate, 37 most
--   orders a second of the account, 38 and of the broker, 39 whether it counts among them, 40 key index of the last
--   duplicate (0 where duplicates are not looked for), 41 window (ms), 42 whether a duplicate is stopped, 43 whether only a
--   reduction may pass, 44 the share of a limit from which rules alert (per cent)
--   claim: 45 key index of the open set, 46 lease token, 47 lease (ms)
--   effect: 48 deadline (ms, Redis' clock), 49 stage after it ('open' or 'ended'), 50 key index of the due set, 51 next due
--   moment (ms) or 0, 52 whether its fills only reduce a position, 53 the version that it builds on, 54 the
--   settlement that made that version, or '', 55 to 58 the watches
--   caps, each with 1 its place among the caps of the call, 2 how far the order moves what the cap measures, 4 what is added
--   to the measure (pairs)
local CAPS, CAP_LENGTH = 59, 5
-- A cap of the call, by position: 1 what it measures, 2 most after the order, 4 from where it alerts (false where it does
-- not), 6 below where it is calm, 8 the limit itself (pairs), 10 whether a reduction passes it, 11 name of its alert.

local bad = stale()
if bad then return bad end
local call = redis.call
local now = now_ms()
local state = call('HMGET', KEYS[2], 'generation', 'trading_state')
local generation, is_halted = state[1] or '0', state[2] == 'halted'
local generation_number = tonumber(generation)
local full = open_ids().count >= tonumber(ARGV[2]) or call('ZCARD', KEYS[4]) > tonumber(ARGV[3])
local repeat_after, most_view_age = tonumber(ARGV[4]), tonumber(ARGV[5])
local second = math.floor(now / 1000)
local broker_counts = {}
local caps = {}
for at = 1, tonumber(ARGV[6]) do caps[at] = {cmsgpack.unpack(ARGV[6 + at])} end
-- The orders of this call that wait for the journal from now on: moment and name of each.
local waiting, now_text = {}, integer(now)

local function put_in_outbox(name)
  waiting[#waiting + 1] = now_text
  waiting[#waiting + 1] = name
end

-- What caps limit, before the order at hand. A loss is what open orders expect to lose less what the day's fills have made.
local measures = {nothing = 0}

local function measure(account, holding, total, date)
  local is_day, is_total_day = account.day == date, total.day == date
  local result, total_result = is_day and account.result or 0, is_total_day and total.result or 0
  measures.account_notional = is_day and account.notional or 0
  measures.total_notional = is_total_day and total.notional or 0
  measures.account_loss = account.open_loss - result
  measures.total_loss = total.open_loss - total_result
  measures.account_result = 0 - result
  measures.account_open_loss = account.open_loss
  measures.open_orders = holding.open_orders
end

-- Counts the order in this second where both rates have room; an account beyond its own takes nothing of its broker's.
local function count_rates(c, account)
  local rate_key, most_of_account, most_of_broker, counts = KEYS[c[36]], c[37], c[38], c[39]
  local broker = broker_counts[rate_key]
  if not broker then
    local known = call('HMGET', rate_key, 'second', 'count')
    broker = {count = tonumber(known[1]) == second and tonumber(known[2]) or 0}
    broker_counts[rate_key] = broker
  end
  local before = account.second == second and account.count or 0
  local over = before >= most_of_account or broker.count >= most_of_broker
  local broker_before = broker.count
  if counts and not over then
    account.second, account.count, account.is_changed = second, before + 1, true
    broker.count, broker.changed = broker.count + 1, true
  end
  return over, before, broker_before
end

-- The readings are numbers in one text. One that is no exact number for Lua is a text already.
local readings, readings_formats = {}, {}

local function write_readings(count, are_numbers)
  if are_numbers then
    local layout = readings_formats[count]
    if not layout then
      layout = string.rep(INTEGER .. ' ', count - 1) .. INTEGER
      readings_formats[count] = layout
    end
    return string.format(layout, unpack(readings, 1, count))
  end
  for at = 1, count do
    if type(readings[at]) == 'number' then readings[at] = integer(readings[at]) end
  end
  return table.concat(readings, ' ', 1, count)
end

-- Compares the order with each of its caps, and appends their readings to the first five. Returns whether one has no room,
-- the readings' text, and the alerts that begin or end by the order, or nil.
local function compare_caps(c, account, total, exposure, exposure_rest, is_reduction)
  local over, changes, count, are_numbers = false, nil, 5, true
  for at = CAPS, #c, CAP_LENGTH do
    local cap = caps[c[at]]
    local measured, most, most_rest, alert_from, alert_from_rest = cap[1], cap[2], cap[3], cap[4], cap[5]
    local before, whole, rest = measures[measured], exposure, exposure_rest
    if before then
      rest = before % REST
      whole = (before - rest) / REST
    elseif is_small(whole) then
      before = whole * REST + rest
    else
      before, are_numbers = write_pair(whole, rest), false
    end
    local after, after_rest = whole + c[at + 1] + c[at + 3], rest + c[at + 2] + c[at + 4]
    while after_rest >= REST do after, after_rest = after + 1, after_rest - REST end
    if (after > most or after == most and after_rest > most_rest) and not (cap[10] and is_reduction) then over = true end
    local ledger = (measured == 'total_notional' or measured == 'total_loss') and total or account
    local alerted_at, change = ledger.alerts and ledger.alerts[cap[11]], nil
    if alert_from and (after > alert_from or after == alert_from and after_rest >= alert_from_rest) then
      if not alerted_at or now - alerted_at >= repeat_after then change = 'alert' end
    elseif alerted_at and not (alert_from and is_at_most(cap[6], cap[7], after, after_rest)) then
      change = 'calm'
    end
    readings[count + 1], readings[count + 2] = before, change == 'alert' and 1 or 0
    count = count + 2
    if change then
      changes = changes or {}
      changes[#changes + 1] =
        {what = change, ledger = ledger, name = cap[11], cap = cap, at = at, before = write_pair(whole, rest)}
    end
  end
  return over, write_readings(count, are_numbers), changes
end

-- Puts an alert of a claimed order into the outbox: its facts, from which any worker can make it.
local function alert(c, document, name, facts)
  local order_id = c[18]
  put_alert(KEYS[6], KEYS[7], order_id .. ':' .. name,
    '{"name":"' .. name .. '",' .. facts .. string.format('"at_ms":%.0f,"order":', now) .. document .. '}')
end

local function crossing_facts(c, change)
  local at, cap, percent = change.at, change.cap, c[44]
  local delta, offset = write_pair(c[at + 1], c[at + 2]), write_pair(c[at + 3], c[at + 4])
  return '"before":"' .. change.before .. '","delta":"' .. delta .. '","offset":"' .. offset .. '","limit":"'
    .. write_pair(cap[8], cap[9]) .. string.format('","percent":%.0f,', percent)
end

local function note_alerts(c, document, changes)
  for _, change in ipairs(changes) do
    local ledger = change.ledger
    ledger.alerts = ledger.alerts or {}
    ledger.alerts[change.name] = change.what == 'alert' and now or nil
    ledger.alerts_changed = true
    if change.what == 'alert' then
      -- The name in the ledger begins with the instrument where alerts are counted per instrument.
      alert(c, document, string.match(change.name, '[^:]*$'), crossing_facts(c, change))
    end
  end
end

-- The 12 bytes of an order's content.
local function content_in(c)
  return struct.pack('>I6I6', c[19], c[20])
end

-- The record of an order under its lease, with a journal sequence (`after`) that its submission comes after.
local function write_claim(c, document, was_released)
  local name, order_id, record, open_set, token, lease = c[17], c[18], KEYS[c[21]], KEYS[c[45]], c[46], c[47]
  if was_released then call('HSET', record, 'rt', call('HGET', record, 'tok')) end
  call('HSET', record, 'st', 'claimed', 'h', content_in(c), 'o', order_id, 'v', '0', 'jv', '0', 'tok', token,
    'doc', document, 'after', call('HGET', KEYS[1], 'journal_sequence') or '0')
  call('ZADD', KEYS[3], integer(now + lease), name)
  enter_open(open_set, name, KEYS[5])
end

-- The record of an order after its first effect, whose event waits for the journal.
local function write_effect(c, document)
  local name, order_id, record, settlement, open_set = c[17], c[18], KEYS[c[21]], c[22], KEYS[c[45]]
  local stage, due_set, due_at = c[49], KEYS[c[50]], c[51]
  call('HSET', record, 'st', stage, 'h', content_in(c), 'o', order_id, 'v', '1', 'jv', '0', 'tok', '',
    'sid', settlement, 'doc', document)
  put_in_outbox(name)
  if stage == 'open' then enter_open(open_set, name, KEYS[5]) end
  if due_at > 0 then call('ZADD', due_set, integer(due_at), name) end
end

-- The record of an open order under new terms, whose event waits for the journal. Appends the events before it that wait.
local function write_replace(c, document, known, answer)
  local name, record, settlement, stage, due_set, due_at = c[17], KEYS[c[21]], c[22], c[49], KEYS[c[50]], c[51]
  local version, journaled = c[53], tonumber(known[3])
  keep_pending(answer, record, journaled, version)
  call('HDEL', record, 'asked', 'missed', 'sent')
  call('HSET', record, 'st', stage, 'v', version + 1, 'sid', settlement, 'doc', document)
  call('ZADD', KEYS[4], 'NX', now, name)
  if stage == 'ended' then leave_open(KEYS[c[45]], name, KEYS[5]) end
  if due_at > 0 then call('ZADD', due_set, integer(due_at), name) else call('ZREM', due_set, name) end
end

-- Why an effect cannot take place, or nil. It is judged before the first change.
local function obstacle(c, holding)
  local deadline, only_reduces = c[48], c[52]
  if now >= deadline then return {'late'} end
  if is_halted then return {'halted'} end
  local moves_position = c[POSITION] ~= 0 or c[POSITION + 1] ~= 0
  if only_reduces and moves_position and crosses(holding, c) then
    return {'crosses', write_pair(holding.position, holding.position_rest)}
  end
end

local function judge(c, head, tail, was_released, replaced)
  local is_probe, name, record, has_effect = c[16] == 'probe', c[17], KEYS[c[21]], c[22] ~= ''
  local judged_generation, view_at, side, date = c[30], c[31], c[32], c[35]
  local duplicate, window, stops_duplicate, only_reduces = c[40] > 0 and KEYS[c[40]], c[41], c[42], c[43]
  if judged_generation ~= generation_number or now - view_at > most_view_age then return {'generation', generation} end
  local account, holding, total, net = open_both(c[26], c[27], c[28], c[29])
  local exposure, exposure_rest = holding.long, holding.long_rest
  if side ~= 1 then exposure, exposure_rest = holding.short, holding.short_rest end
  local after, after_rest = add_pairs(exposure, exposure_rest, c[33], c[34])
  local is_reduction = is_at_most(after, after_rest, 0, 0)
  local stop = has_effect and obstacle(c, holding)
  if stop then return stop end
  local last = duplicate and call('GET', duplicate)
  local is_duplicate = last and last ~= name
  local over, account_before, broker_before = count_rates(c, account)
  over = over or (is_duplicate and stops_duplicate) or (only_reduces and not is_reduction)
    or ((account.breach or total.breach or account.unpriced > 0) and not is_reduction)
  readings[1], readings[2], readings[3] = is_reduction and 1 or 0, is_duplicate and 1 or 0, account_before
  readings[4], readings[5] = broker_before, account.unpriced
  measure(account, holding, total, date)
  local is_over_cap, text, changes = compare_caps(c, account, total, exposure, exposure_rest, is_reduction)
  local is_claimed = not is_probe and not over and not is_over_cap
  local answer = {is_probe and 'probed' or is_claimed and 'claimed' or 'over', text, account.breach or '', total.breach or ''}
  if not is_claimed then return answer end
  if full then return {'full'} end
  if not moves_fit(account, holding, c) or not moves_fit(total, net, c) then return {'inexact'} end
  if changes then note_alerts(c, head .. tail, changes) end
  if is_duplicate then alert(c, head .. tail, 'duplicate_order', string.format('"window_ms":%.0f,', window)) end
  if duplicate then call('SET', duplicate, name, 'PX', window) end
  if not has_effect then
    write_claim(c, head .. tail, was_released)
  elseif not replaced then
    write_effect(c, head .. text .. tail)
  end
  if was_released then call('PERSIST', record) end
  move(account, holding, c)
  move(total, net, c)
  if has_effect then
    local day = c[DAY]
    answer[1] = 'booked'
    answer[5], answer[6] = watch(account, day, c[55], c[56]), watch(total, day, c[57], c[58])
  end
  if replaced then write_replace(c, head .. text .. tail, replaced, answer) end
  return answer
end

-- Whether the account's denials of this hour leave room for one more, which is counted.
local function count_denial(budget, most)
  if budget == 0 then return true end
  local key, hour = KEYS[budget], math.floor(now / HOUR_MS)
  local counted = call('HMGET', key, 'hour', 'count')
  local count = tonumber(counted[1]) == hour and tonumber(counted[2]) or 0
  if count >= most then return false end
  call('HSET', key, 'hour', hour, 'count', count + 1)
  call('PEXPIRE', key, HOUR_MS)
  return true
end

local function deny(c, document, was_released)
  if full then return {'full'} end
  if not count_denial(c[24], c[25]) then return {'over_budget'} end
  local name, order_id, record = c[17], c[18], KEYS[c[21]]
  call('HSET', record, 'st', 'denied', 'h', content_in(c), 'o', order_id, 'v', '1', 'jv', '0', 'doc', document)
  if was_released then call('PERSIST', record) end
  put_in_outbox(name)
  return {'denied'}
end

-- The answer where a record or an entry is known, or nil: the order may be claimed. Where the very effect is booked already,
-- the reply to an earlier call was lost. A released order is claimed again under its own id.
local function known_answer(c, record, stage)
  local name, order_id, settlement, bits = c[17], c[18], c[22], c[23]
  if stage then
    local known = call('HMGET', record, 'h', 'o', 'v', 'jv', 'seq', 'sid')
    if stage == 'released' and known[2] == order_id and known[1] == content_in(c) then return nil end
    if settlement ~= '' and newest_settlement(record, tonumber(known[3]), known[6]) == settlement then return {'repeated'} end
    return {'known', stage, known[1], known[2], known[3], known[4], known[5] or '0'}
  end
  local entry = recall(name, bits)
  if not entry then return nil end
  if settlement ~= '' then
    local e = read_entry(entry)
    if is_entry_of(e, order_id) and e.settlement == end_of(settlement) then return {'repeated'} end
  end
  return {'remembered', entry}
end

-- New terms of an order that is open, at the version that they build on.
local function replace(c, head, tail, record)
  local known = call('HMGET', record, 'st', 'v', 'jv', 'o', 'sid')
  if known[4] ~= c[18] or known[1] ~= 'open' then return {'superseded'} end
  local version = tonumber(known[2])
  local made_by = newest_settlement(record, version, known[5])
  if made_by == c[22] then return {'repeated'} end
  if version ~= c[53] or made_by ~= c[54] then return {'superseded'} end
  return judge(c, head, tail, false, known)
end

local function one(packed, head, tail)
  local c = {cmsgpack.unpack(packed)}
  local action, record = c[16], KEYS[c[21]]
  if action == 'replace' then return replace(c, head, tail, record) end
  local stage = call('HGET', record, 'st')
  local known = known_answer(c, record, stage)
  if known then return known end
  if action == 'look' then return {'probed', '0 0 0 0 0', '', ''} end
  if action == 'deny' then return deny(c, head .. tail, stage) end
  return judge(c, head, tail, stage)
end

local answers = {}
for at = 7 + #caps, #ARGV, 3 do
  if #answers > 1 and is_long() then break end
  answers[#answers + 1] = answer_for(one, ARGV[at], ARGV[at + 1], ARGV[at + 2])
end
for key, broker in pairs(broker_counts) do
  if broker.changed then
    call('HSET', key, 'second', second, 'count', broker.count)
    call('PEXPIRE', key, 2000)
  end
end
if #waiting > 0 then call('ZADD', KEYS[4], unpack(waiting)) end
write_ledgers()
answers[#answers + 1] = time_spent_us()
return answers
