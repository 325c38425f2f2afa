-- Answers a known id, or claims the order with everything it reserves: all caps hold, or nothing is reserved.
--
-- An order whose venue is the store takes its first effect in the same step: nothing stands between claim and fill.
--
-- KEYS  1 meta, 2 state, 3 leases, 4 outbox, 5 keys of the open sets, 6 documents of the alerts that are not published,
--       7 their names by moment, then those the commands name by their index
-- ARGV  1 epoch, 2 most ids that may be remembered (0: Redis is full), 3 most orders that may wait in the outbox,
--       4 how long a rule stays silent after an alert (ms), 5 how old the view may be that an order was judged by (ms),
--       then for each order a command (MessagePack, the fields below) and a document
-- Returns for each order
--         {'known', stage, content, order id, version, journaled version, journal sequence}
--         {'remembered', entry}: the order has ended
--         {'generation', generation}: it has to be judged anew
--         {'claimed' | 'over' | 'probed', readings, loss of the breach of the account or '', of all accounts or ''}
--         {'booked', the same, loss of the account or '', of all accounts or ''}: the first effect is booked as well; a
--         loss is told where the effect has brought it to its limit
--         {'repeated'}: this effect was booked by an earlier call · {'late'} past its deadline · {'halted'}
--         {'crosses', position (1e-8)}: a reducing fill would cross zero
--         {'denied'} · {'over_budget'}: the account has had its denials of this hour · {'full'}
--         {'inexact'}: a sum would leave the exact range
-- The readings are numbers in one text: reduction (0 or 1), duplicate (0 or 1), the account's and the broker's orders of
-- this second before it, the account's fills whose fee has no price, then for each cap the measure before it and whether it
-- is the first to alert (0 or 1).
--         {'failed', error}: it may have taken effect
-- A released order of the same order id and content counts as unknown.
-- Idempotent: a second claim or denial of the same id is answered 'known'.
local ACTION, NAME, ORDER_ID, CONTENT, RECORD, CHECK, CLAIM, BUDGET = 1, 2, 3, 4, 5, 6, 7, 8
-- A check: generation of the control and moment of the view it was judged by (ms, Redis' clock), owner, side (1 buy, 2
-- sell), quantity (pair), trading date, caps, key index of the broker's rate, most orders a second of the account and of
-- the broker, whether it counts among them, duplicate, whether only a reduction may pass, the share of a limit from which
-- rules alert (per cent).
local GENERATION, VIEW_AT, OWNER, SIDE, QUANTITY, DATE, CAPS, RATE_KEY, ACCOUNT_RATE, BROKER_RATE, COUNTS, DUPLICATE,
  ONLY_REDUCES, ALERT_PERCENT = 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15
-- A cap: what it measures, delta, most after the order, from where it alerts, below where it is calm (pairs), whether it
-- alerts, whether a reduction passes it, name of its alert, the limit itself and what is added to the measure (pairs).
local MEASURE, DELTA, MOST, ALERT_FROM, CALM_BELOW, ALERTS, PASSES_REDUCTION, ALERT_NAME, LIMIT, OFFSET =
  1, 2, 4, 6, 8, 10, 11, 12, 13, 15
-- A duplicate: key index (0 where duplicates are not looked for), window (ms), whether one is stopped.
local DUPLICATE_KEY, WINDOW, STOPS = 1, 2, 3
-- A budget of denials: key index (0: no budget applies), most denials an hour.
local BUDGET_KEY, MOST_DENIALS = 1, 2
-- A claim: moves, key index of the open set, lease token, lease (ms), effect or nil.
local MOVES, OPEN_SET, TOKEN, LEASE, EFFECT = 1, 2, 3, 4, 5
-- An effect: the settlement's id, deadline (ms, Redis' clock), stage after it ('open' or 'ended'), key index of the due
-- set, next due moment (ms) or 0, watches, whether its fills only reduce a position, where the document takes the
-- readings (bytes).
local SETTLEMENT, DEADLINE, STAGE, DUE_SET, DUE_AT, WATCHES, EFFECT_REDUCES, READINGS_AT = 1, 2, 3, 4, 5, 6, 7, 8

local bad = stale()
if bad then return bad end
local now = now_ms()
local state = redis.call('HMGET', KEYS[2], 'generation', 'trading_state')
local generation, is_halted = state[1] or '0', state[2] == 'halted'
local full = open_ids().count >= tonumber(ARGV[2]) or redis.call('ZCARD', KEYS[4]) > tonumber(ARGV[3])
local second = math.floor(now / 1000)
local broker_counts = {}

-- What a cap limits, before the order. A loss is what open orders expect to lose less what the day's fills have made.
local measures = {
  account_notional = function(c) return c.account.day == c.date and c.account.notional or 0 end,
  total_notional = function(c) return c.total.day == c.date and c.total.notional or 0 end,
  account_loss = function(c) return c.account.open_loss - (c.account.day == c.date and c.account.result or 0) end,
  total_loss = function(c) return c.total.open_loss - (c.total.day == c.date and c.total.result or 0) end,
  account_result = function(c) return c.account.day == c.date and -c.account.result or 0 end,
  account_open_loss = function(c) return c.account.open_loss end,
  open_orders = function(c) return c.holding.open_orders end,
  nothing = function() return 0 end,
}

local function measure(cap, c)
  if cap[MEASURE] == 'exposure' then return c.exposure, c.exposure_rest end
  return pair_of(measures[cap[MEASURE]](c))
end

-- Counts the order in this second where both rates have room; an account beyond its own takes nothing of its broker's.
local function count_rates(check, account)
  local rate_key = KEYS[check[RATE_KEY]]
  local broker = broker_counts[rate_key]
  if not broker then
    local known = redis.call('HMGET', rate_key, 'second', 'count')
    broker = {count = tonumber(known[1]) == second and tonumber(known[2]) or 0}
    broker_counts[rate_key] = broker
  end
  local before = account.second == second and account.count or 0
  local over = before >= check[ACCOUNT_RATE] or broker.count >= check[BROKER_RATE]
  local broker_before = broker.count
  if check[COUNTS] and not over then
    account.second, account.count, account.is_changed = second, before + 1, true
    broker.count, broker.changed = broker.count + 1, true
  end
  return over, before, broker_before
end

-- Looks at one cap: whether it has room, the measure before the order, and whether it alerts anew.
local function look(cap, c, reduction)
  local whole, rest = measure(cap, c)
  local after, after_rest = add_pairs(whole, rest, cap[DELTA], cap[DELTA + 1])
  local fits = is_at_most(after, after_rest, cap[MOST], cap[MOST + 1]) or (cap[PASSES_REDUCTION] and reduction)
  local ledger = (cap[MEASURE] == 'total_notional' or cap[MEASURE] == 'total_loss') and c.total or c.account
  local told = ledger.alerts and ledger.alerts[cap[ALERT_NAME]]
  local change
  if cap[ALERTS] and is_at_most(cap[ALERT_FROM], cap[ALERT_FROM + 1], after, after_rest) then
    if not told or now - told >= tonumber(ARGV[4]) then change = 'alert' end
  elseif told and not (cap[ALERTS] and is_at_most(cap[CALM_BELOW], cap[CALM_BELOW + 1], after, after_rest)) then
    change = 'calm'
  end
  return fits, write_pair(whole, rest), change, ledger
end

-- Puts an alert of a claimed order into the outbox: its facts, from which any worker can make it.
local function alert(command, doc, name, facts)
  put_alert(KEYS[6], KEYS[7], command[ORDER_ID] .. ':' .. name,
    '{"name":"' .. name .. '",' .. facts .. string.format('"at_ms":%.0f,"order":', now) .. doc .. '}')
end

local function crossing_facts(change, percent)
  local cap = change.cap
  return '"before":"' .. change.before .. '","delta":"' .. write_pair(cap[DELTA], cap[DELTA + 1])
    .. '","offset":"' .. write_pair(cap[OFFSET], cap[OFFSET + 1]) .. '","limit":"'
    .. write_pair(cap[LIMIT], cap[LIMIT + 1]) .. string.format('","percent":%.0f,', percent)
end

-- The record of an order under its lease, with a journal sequence (`after`) that its submission comes after.
local function write_claim(command, doc)
  local order = command[CLAIM]
  redis.call('HSET', KEYS[command[RECORD]], 'st', 'claimed', 'h', content_of(command[CONTENT]),
    'o', command[ORDER_ID], 'v', 0, 'jv', 0, 'tok', order[TOKEN], 'doc', doc,
    'after', redis.call('HGET', KEYS[1], 'journal_sequence') or '0')
  redis.call('ZADD', KEYS[3], now + order[LEASE], command[NAME])
  enter_open(KEYS[order[OPEN_SET]], command[NAME], KEYS[5])
end

-- The record of an order after its first effect, whose event waits for the journal.
local function write_effect(command, doc, readings)
  local order, effect, name = command[CLAIM], command[CLAIM][EFFECT], command[NAME]
  local at = effect[READINGS_AT]
  redis.call('HSET', KEYS[command[RECORD]], 'st', effect[STAGE], 'h', content_of(command[CONTENT]),
    'o', command[ORDER_ID], 'v', 1, 'jv', 0, 'tok', '', 'sid', effect[SETTLEMENT],
    'doc', string.sub(doc, 1, at) .. readings .. string.sub(doc, at + 1))
  redis.call('ZADD', KEYS[4], now, name)
  if effect[STAGE] == 'open' then enter_open(KEYS[order[OPEN_SET]], name, KEYS[5]) end
  if effect[DUE_AT] > 0 then redis.call('ZADD', KEYS[effect[DUE_SET]], effect[DUE_AT], name) end
end

local function claim(c, check, command, doc, changes, readings)
  for _, change in ipairs(changes) do
    local ledger = change.ledger
    ledger.alerts = ledger.alerts or {}
    ledger.alerts[change.name] = change.what == 'alert' and now or nil
    ledger.alerts_changed = true
    if change.what == 'alert' then
      -- The name in the ledger begins with the instrument where alerts are counted per instrument.
      alert(command, doc, string.match(change.name, '[^:]*$'), crossing_facts(change, check[ALERT_PERCENT]))
    end
  end
  local duplicate = check[DUPLICATE]
  if c.is_duplicate then
    alert(command, doc, 'duplicate_order', string.format('"window_ms":%.0f,', duplicate[WINDOW]))
  end
  if duplicate[DUPLICATE_KEY] > 0 then
    redis.call('SET', KEYS[duplicate[DUPLICATE_KEY]], command[NAME], 'PX', duplicate[WINDOW])
  end
  if command[CLAIM][EFFECT] then write_effect(command, doc, readings) else write_claim(command, doc) end
  if c.was_released then redis.call('PERSIST', KEYS[command[RECORD]]) end
  force_both(check[OWNER], command[CLAIM][MOVES])
end

-- Why an effect cannot take place, or nil. It is judged before the first change.
local function obstacle(c, effect, moves)
  if now >= effect[DEADLINE] then return {'late'} end
  if is_halted then return {'halted'} end
  local moves_position = moves[POSITION] ~= 0 or moves[POSITION + 1] ~= 0
  if effect[EFFECT_REDUCES] and moves_position and crosses(c.holding, moves) then
    return {'crosses', write_pair(c.holding.position, c.holding.position_rest)}
  end
end

local function judge(command, doc, was_released)
  local check = command[CHECK]
  if string.format('%.0f', check[GENERATION]) ~= generation or now - check[VIEW_AT] > tonumber(ARGV[5]) then
    return {'generation', generation}
  end
  local c = {date = check[DATE], was_released = was_released}
  c.account, c.holding, c.total = open_both(check[OWNER])
  if check[SIDE] == 1 then
    c.exposure, c.exposure_rest = c.holding.long, c.holding.long_rest
  else
    c.exposure, c.exposure_rest = c.holding.short, c.holding.short_rest
  end
  local after, after_rest = add_pairs(c.exposure, c.exposure_rest, check[QUANTITY], check[QUANTITY + 1])
  local reduction = is_at_most(after, after_rest, 0, 0)
  local order = command[CLAIM]
  local effect = order and order[EFFECT]
  local stop = effect and obstacle(c, effect, order[MOVES])
  if stop then return stop end
  local duplicate = check[DUPLICATE]
  local last = duplicate[DUPLICATE_KEY] > 0 and redis.call('GET', KEYS[duplicate[DUPLICATE_KEY]])
  local is_duplicate = last and last ~= command[NAME]
  c.is_duplicate = is_duplicate
  local over, account_before, broker_before = count_rates(check, c.account)
  over = over or (is_duplicate and duplicate[STOPS]) or (check[ONLY_REDUCES] and not reduction)
    or ((c.account.breach or c.total.breach or c.account.unpriced > 0) and not reduction)
  local readings = {reduction and '1' or '0', is_duplicate and '1' or '0', account_before, broker_before,
    string.format('%.0f', c.account.unpriced)}
  local changes = {}
  for _, cap in ipairs(check[CAPS]) do
    local fits, before, change, ledger = look(cap, c, reduction)
    readings[#readings + 1] = before
    readings[#readings + 1] = change == 'alert' and '1' or '0'
    if change then
      changes[#changes + 1] = {what = change, ledger = ledger, name = cap[ALERT_NAME], cap = cap, before = before}
    end
    over = over or not fits
  end
  local verdict = command[ACTION] == 'probe' and 'probed' or over and 'over' or 'claimed'
  local text = table.concat(readings, ' ')
  local answer = {verdict, text, c.account.breach or '', c.total.breach or ''}
  if verdict == 'claimed' then
    if full then return {'full'} end
    if not both_fit(check[OWNER], order[MOVES]) then return {'inexact'} end
    claim(c, check, command, doc, changes, text)
    if effect then
      local watches, day = effect[WATCHES], order[MOVES][DAY]
      answer[1] = 'booked'
      answer[5] = watch(c.account, day, watches[ACCOUNT_BASE], watches[ACCOUNT_LIMIT])
      answer[6] = watch(c.total, day, watches[TOTAL_BASE], watches[TOTAL_LIMIT])
    end
  end
  return answer
end

-- Whether this very effect is booked already: the reply to an earlier call was lost.
local function is_repeated(command, settlement, entry)
  local effect = command[CLAIM] and command[CLAIM][EFFECT]
  if not effect then return false end
  if not entry then return settlement == effect[SETTLEMENT] end
  local e = read_entry(entry)
  return is_entry_of(e, command[ORDER_ID]) and e.settlement == end_of(effect[SETTLEMENT])
end

-- Whether the account's denials of this hour leave room for one more, which is counted.
local function count_denial(budget)
  if budget[BUDGET_KEY] == 0 then return true end
  local key, hour = KEYS[budget[BUDGET_KEY]], math.floor(now / HOUR_MS)
  local counted = redis.call('HMGET', key, 'hour', 'count')
  local count = tonumber(counted[1]) == hour and tonumber(counted[2]) or 0
  if count >= budget[MOST_DENIALS] then return false end
  redis.call('HSET', key, 'hour', hour, 'count', count + 1)
  redis.call('PEXPIRE', key, HOUR_MS)
  return true
end

local function one(command, doc)
  local record = KEYS[command[RECORD]]
  local known = redis.call('HMGET', record, 'st', 'h', 'o', 'v', 'jv', 'seq', 'sid')
  -- A released order is claimed anew under its own id, by whoever knows it.
  local is_free = known[1] == 'released' and known[3] == command[ORDER_ID] and known[2] == content_of(command[CONTENT])
  if known[1] and not is_free then
    if is_repeated(command, known[7]) then return {'repeated'} end
    return {'known', known[1], known[2], known[3], known[4], known[5], known[6] or '0'}
  end
  local entry = not known[1] and recall(command[NAME])
  if entry and is_repeated(command, nil, entry) then return {'repeated'} end
  if entry then return {'remembered', entry} end
  if command[ACTION] == 'look' then return {'probed', '0 0 0 0 0', '', ''} end
  if command[ACTION] == 'deny' then
    if full then return {'full'} end
    if not count_denial(command[BUDGET]) then return {'over_budget'} end
    redis.call('HSET', record, 'st', 'denied', 'h', content_of(command[CONTENT]), 'o', command[ORDER_ID], 'v', 1,
      'jv', 0, 'doc', doc)
    if known[1] then redis.call('PERSIST', record) end
    redis.call('ZADD', KEYS[4], now, command[NAME])
    return {'denied'}
  end
  return judge(command, doc, known[1])
end

local answers = {}
for at = 6, #ARGV, 2 do
  answers[#answers + 1] = answer_for(one, ARGV[at], ARGV[at + 1])
end
for key, broker in pairs(broker_counts) do
  if broker.changed then
    redis.call('HSET', key, 'second', second, 'count', broker.count)
    redis.call('PEXPIRE', key, 2000)
  end
end
write_ledgers()
return answers
