-- Stands before every script. KEYS[1] is always `meta`, ARGV[1] always the epoch the caller knows.

-- Lua collects garbage while scripts allocate. Its heap holds every compiled script, and by default a cycle over it runs at
-- twice the pace of the allocations: one or two calls did most of it, and took a millisecond longer for it. At a fifth of
-- their pace many calls share a cycle. The heap stays bounded: a cycle ends once it has been through what is reachable.
if rawget(_G, 'collectgarbage') then collectgarbage('setstepmul', 20) end

-- A number is a pair: whole units of 1e8 and the rest, 0 to 99999999. Lua counts in doubles, which are exact up to 2^53;
-- a pair is exact far beyond the greatest quantity in units of 1e-8.
local MAX_EXACT = 9007199254740991
local REST = 100000000

-- How a whole number becomes text: Lua's own conversion would round one of more than 14 digits. `%d` costs a third of
-- `%.0f`, and is as exact where the machine's long integer has 64 bits.
local INTEGER = string.format('%d', MAX_EXACT) == '9007199254740991' and '%d' or '%.0f'
local EIGHT_INTEGERS = string.rep(INTEGER .. ' ', 7) .. INTEGER

local function integer(number)
  return string.format(INTEGER, number)
end

-- Whether the data were built under this replication id. A server draws another one when it is promoted, also one that
-- still has the scripts of the epoch: it was a replica meanwhile, of a server that may have been behind.
local function is_builder(id)
  if not id or id == '' then return id end
  return string.find(redis.call('INFO', 'replication'), 'master_replid:' .. id, 1, true)
end

-- The answer to a caller whose epoch is not the store's, or nil.
local function stale()
  local known = redis.call('HMGET', KEYS[1], 'epoch', 'replication_id')
  local epoch = known[1]
  if epoch ~= ARGV[1] or not is_builder(known[2]) then
    return {'stale', epoch == ARGV[1] and 'failover' or epoch or ''}
  end
end

-- The processor time of the server, in seconds, where scripts may read it (Redis from 7.4 on, Valkey from 8 on). `TIME` stands
-- still while a script of these servers runs.
local processor_time = rawget(_G, 'os') and os.clock
local moment, started_us, started_s

local function clock_us()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end

-- Milliseconds since 1970 by Redis' clock, which judges leases and deadlines: one moment for the whole call.
local function now_ms()
  if not moment then
    started_s = processor_time and processor_time()
    started_us = clock_us()
    moment = math.floor(started_us / 1000)
  end
  return moment
end

-- How long the call has run since it read its moment, in microseconds: callers keep their calls short by it. 0 where the
-- server does not tell.
local function time_spent_us()
  if processor_time then return (processor_time() - started_s) * 1000000 end
  return clock_us() - started_us
end

-- Whether the call has run so long that it answers no further command: Redis serves no one else meanwhile. The caller sends
-- those again that have no answer. What is still to do, one command and the writing of the ledgers, takes less than as much
-- again. It is asked from the third command on, or for each part of what is no batch.
local LONG_CALL_US = 400

local function is_long()
  return time_spent_us() >= LONG_CALL_US
end

-- Runs one command of a batch with its arguments. An error in it is its own answer: the commands beside it stand. Each
-- command has an answer, because those without one are the last of the batch and are sent again.
local function answer_for(run, ...)
  local ok, answer = pcall(run, ...)
  if ok then return answer or {'failed', 'the script has no answer'} end
  return {'failed', type(answer) == 'table' and answer.err or tostring(answer)}
end

-- Remembered ids: one small entry an order that has ended and is journaled, a field of a bucket. `IDS` and `ID_BUCKET`
-- are the keys (src/store/keys.rs). Buckets split one by one as ids are added (linear hashing), so that each stays small
-- enough for Redis' compact encoding. The name of an order is its key in 13 digits of six bits.
local IDS_A_BUCKET = 32
-- An entry: hour from which it may be dropped, stage, the order id's prefix and time, content, version, its journal
-- sequence, how far the first sequence lies before it, the end of the settlement's id; then the order id where the key
-- is no part of it.
local ENTRY, ENTRY_LENGTH = '>I3Bc2I6c12I3I6I4I4', 41
local HOUR_MS = 3600000
local ids

local function open_ids()
  if not ids then
    local known = redis.call('HMGET', IDS, 'buckets', 'count')
    ids = {buckets = tonumber(known[1] or '1'), count = tonumber(known[2] or '0')}
  end
  return ids
end

local function digit(byte)
  if byte >= 97 then return byte - 71 end
  if byte == 95 then return 63 end
  if byte >= 65 then return byte - 65 end
  if byte >= 48 then return byte + 4 end
  return 62
end

-- The last 30 bits of a name.
local function bits_of(name)
  local a, b, c, d, e = string.byte(name, 9, 13)
  return (((digit(a) * 64 + digit(b)) * 64 + digit(c)) * 64 + digit(d)) * 64 + digit(e)
end

-- The number of the bucket of a name's bits among so many.
local function bucket_of(bits, buckets)
  local _, exponent = math.frexp(buckets)
  local low = 2 ^ (exponent - 1)
  local bucket = bits % (2 * low)
  return bucket < buckets and bucket or bucket - low
end

local function bucket_key(number)
  return ID_BUCKET .. integer(number)
end

-- Moves those of a bucket's entries that belong to another since the number of buckets has changed.
local function redistribute(from)
  local key = bucket_key(from)
  local entries = redis.call('HGETALL', key)
  for at = 1, #entries, 2 do
    local to = bucket_of(bits_of(entries[at]), ids.buckets)
    if to ~= from then
      redis.call('HDEL', key, entries[at])
      redis.call('HSET', bucket_key(to), entries[at], entries[at + 1])
    end
  end
end

local function split_bucket()
  local _, exponent = math.frexp(ids.buckets)
  local from = ids.buckets - 2 ^ (exponent - 1)
  ids.buckets = ids.buckets + 1
  redistribute(from)
end

local function merge_bucket()
  ids.buckets = ids.buckets - 1
  redistribute(ids.buckets)
end

-- The entry of a name, or false. A caller that has the name's bits saves the script to compute them.
local function recall(name, bits)
  return redis.call('HGET', bucket_key(bucket_of(bits or bits_of(name), open_ids().buckets)), name)
end

local function read_entry(entry)
  local _, stage, prefix, time, content, version, sequence, before, settlement = struct.unpack(ENTRY, entry)
  return {
    stage = stage == 2 and 'denied' or 'ended', prefix = prefix, time = time, content = content, version = version,
    sequence = sequence, first = sequence - before, settlement = settlement,
    tail = string.sub(entry, ENTRY_LENGTH + 1),
  }
end

-- The 12 bytes of a content that a command holds as two numbers.
local function content_of(numbers)
  return struct.pack('>I6I6', numbers[1], numbers[2])
end

local function time_of(order_id)
  return tonumber(string.sub(order_id, 4, 15), 16)
end

-- The end of a settlement's id, as an entry holds it.
local function end_of(settlement)
  return settlement and settlement ~= '' and tonumber(string.sub(settlement, -8), 16) or 0
end

-- Whether the last version of an entry was made by a settlement, as far as is known.
local function may_be_made_by(e, settlement)
  return e.settlement == 0 or e.settlement == end_of(settlement)
end

local function is_entry_of(e, order_id)
  if e.tail ~= '' then return e.tail == order_id end
  return #order_id == 35 and e.prefix == string.sub(order_id, 1, 2) and e.time == time_of(order_id)
end

-- Remembers an order for `ttl` (ms). `tail` is its id where the key is no part of that, or ''.
local function remember(name, bits, order_id, tail, stage, content, version, sequence, first, settlement, ttl)
  open_ids()
  local entry = struct.pack(ENTRY, math.ceil((now_ms() + ttl) / HOUR_MS), stage == 'denied' and 2 or 1,
    tail == '' and string.sub(order_id, 1, 2) or '  ', tail == '' and time_of(order_id) or 0, content, version,
    sequence, math.max(0, math.min(sequence - first, 4294967295)), end_of(settlement)) .. tail
  ids.count = ids.count + redis.call('HSET', bucket_key(bucket_of(bits, ids.buckets)), name, entry)
  ids.is_changed = true
  if ids.count > ids.buckets * IDS_A_BUCKET then split_bucket() end
end

local function forget(name)
  open_ids()
  ids.count = ids.count - redis.call('HDEL', bucket_key(bucket_of(bits_of(name), ids.buckets)), name)
  ids.is_changed = true
end

local function write_ids()
  if ids and ids.is_changed then
    redis.call('HSET', IDS, 'buckets', string.format('%.0f', ids.buckets), 'count', string.format('%.0f', ids.count))
  end
end

-- Appends version and document of each event of an order after `journaled` that is not on the journal, up to a version whose
-- document is at hand, in order.
local function pending(answer, record, journaled, version, latest)
  for v = journaled + 1, version do
    local doc = v == version and latest or redis.call('HGET', record, 'p:' .. v)
    if doc then
      answer[#answer + 1] = tostring(v)
      answer[#answer + 1] = doc
    end
  end
  return answer
end

-- As `pending`, up to the order's present version, whose document another one is about to replace: it is kept. It is read only
-- where it waits for the journal: Lua hashes every byte of what it reads.
local function keep_pending(answer, record, journaled, version)
  local latest = version > journaled and redis.call('HGET', record, 'doc')
  pending(answer, record, journaled, version, latest)
  if latest then redis.call('HSET', record, 'p:' .. version, latest) end
end

local function sum(key, field)
  return tonumber(redis.call('HGET', key, field) or '0')
end

-- The watermark is the journal sequence up to which the store holds every event: a rebuild begins behind it. It stays below
-- every event that the store is known to lack, until that one has been replayed. `lost` in `meta` lists these; a list that
-- is full holds the first of them and stays until the store has been rebuilt.
local MAX_LOST, FULL = 256, ' full'
local lost

local function lost_events()
  lost = lost or redis.call('HGET', KEYS[1], 'lost') or ''
  return lost
end

local function write_lost(sequences)
  lost = table.concat(sequences, ' ')
  if lost == '' then redis.call('HDEL', KEYS[1], 'lost') else redis.call('HSET', KEYS[1], 'lost', lost) end
end

-- Takes note of an event that is on the journal and not in the store.
local function note_lost(sequence)
  local sequences, first = {}, sequence
  for one in string.gmatch(lost_events(), '%d+') do
    if tonumber(one) == sequence then return end
    sequences[#sequences + 1] = one
    first = math.min(first, tonumber(one))
  end
  if string.sub(lost_events(), -#FULL) == FULL or #sequences >= MAX_LOST then
    sequences = {string.format('%.0f', first) .. FULL}
  else
    sequences[#sequences + 1] = string.format('%.0f', sequence)
  end
  write_lost(sequences)
end

-- Takes note that an event is in the store, or void.
local function note_replayed(sequence)
  if lost_events() == '' or string.sub(lost_events(), -#FULL) == FULL then return end
  local sequences = {}
  for one in string.gmatch(lost_events(), '%d+') do
    if tonumber(one) ~= sequence then sequences[#sequences + 1] = one end
  end
  write_lost(sequences)
end

local function raise_watermark(sequence)
  for one in string.gmatch(lost_events(), '%d+') do sequence = math.min(sequence, tonumber(one) - 1) end
  if sequence > sum(KEYS[1], 'journal_sequence') then
    redis.call('HSET', KEYS[1], 'journal_sequence', string.format('%.0f', sequence))
  end
end

-- Adds an order to a set of open orders, or takes it out; `all` holds the keys of the sets that are not empty. This call
-- knows the sets that it has listed there.
local listed = {}

local function enter_open(set, name, all)
  redis.call('SADD', set, name)
  if listed[set] then return end
  redis.call('SADD', all, set)
  listed[set] = true
end

local function leave_open(set, name, all)
  redis.call('SREM', set, name)
  if redis.call('EXISTS', set) == 0 then
    redis.call('SREM', all, set)
    listed[set] = nil
  end
end

-- The pair of a whole number of at most 2^53.
local function pair_of(number)
  local rest = number % REST
  return (number - rest) / REST, rest
end

-- The pair of a whole number as text.
local function read_pair(text)
  if #text <= 15 then
    local number = text + 0
    local rest = number % REST
    return (number - rest) / REST, rest
  end
  local is_negative = string.byte(text) == 45
  local whole = tonumber(string.sub(text, is_negative and 2 or 1, -9))
  local rest = tonumber(string.sub(text, -8))
  if not is_negative then return whole, rest end
  if rest == 0 then return -whole, 0 end
  return -whole - 1, REST - rest
end

-- Whether a pair with this whole part is one exact number.
local function is_small(whole)
  return whole > -10000000 and whole < 10000000
end

local function write_pair(whole, rest)
  if is_small(whole) then return string.format(INTEGER, whole * REST + rest) end
  if whole >= 0 then return string.format('%.0f%08.0f', whole, rest) end
  if rest == 0 then return string.format('-%.0f00000000', -whole) end
  return string.format('-%.0f%08.0f', -whole - 1, REST - rest)
end

local function add_pairs(whole, rest, more_whole, more_rest)
  rest = rest + more_rest
  if rest >= REST then return whole + more_whole + 1, rest - REST end
  return whole + more_whole, rest
end

local function negate_pair(whole, rest)
  if rest == 0 then return -whole, 0 end
  return -whole - 1, REST - rest
end

local function is_at_most(whole, rest, most_whole, most_rest)
  return whole < most_whole or whole == most_whole and rest <= most_rest
end

-- A ledger is the hash of an account's sums, or of the sums of all accounts. A call reads each once and writes it once.
-- Its field `sums` is eight numbers: the day its daily sums count for (days since 1970), that day's routed notional, the
-- expected loss of open orders, what that day's fills have made (1e-6), the second and the count of its new orders, how
-- many of its holdings are not flat, and how many of its fills have a fee without a price. A field `<venue>:<symbol>` is a
-- holding, eight numbers: long, short, position, position at the start of its day (1e-8), its day, that day's cash flow and
-- fees (1e-6), open orders.
local FLAT_TTL_MS = '108000000'
local EIGHT_FIELDS = '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$'
local ledgers, opened = {}, {}

-- The numbers of a ledger's own sums. Adding 0 makes a number of a text, at a fifth of the cost of `tonumber`.
local function read_sums(text)
  if not text then return 0, 0, 0, 0, 0, 0, 0, 0 end
  local day, notional, open_loss, result, second, count, held, unpriced = string.match(text, EIGHT_FIELDS)
  return day + 0, notional + 0, open_loss + 0, result + 0, second + 0, count + 0, held + 0, unpriced + 0
end

local function is_flat(h)
  return h.position == 0 and h.position_rest == 0 and h.open_orders == 0 and h.long == 0 and h.long_rest == 0
    and h.short == 0 and h.short_rest == 0
end

-- A holding with its name. Its table is made at its full size: one that grows field by field costs twice as much.
local function read_holding(name, text)
  if not text then
    return {
      name = name, long = 0, long_rest = 0, short = 0, short_rest = 0, position = 0, position_rest = 0, start = 0,
      start_rest = 0, day = 0, cash_flow = 0, fees = 0, open_orders = 0, was_held = false, is_changed = false,
    }
  end
  local long, short, position, start, day, cash_flow, fees, open_orders = string.match(text, EIGHT_FIELDS)
  local h = {
    name = name, long = 0, long_rest = 0, short = 0, short_rest = 0, position = 0, position_rest = 0, start = 0,
    start_rest = 0, day = day + 0, cash_flow = cash_flow + 0, fees = fees + 0, open_orders = open_orders + 0,
    was_held = false, is_changed = false,
  }
  h.long, h.long_rest = read_pair(long)
  h.short, h.short_rest = read_pair(short)
  h.position, h.position_rest = read_pair(position)
  h.start, h.start_rest = read_pair(start)
  h.was_held = not is_flat(h)
  return h
end

-- Whether a ledger outlives the day: its account holds something, or a fee of its fills has no price yet.
local function is_kept(ledger)
  return ledger.held > 0 or ledger.unpriced ~= 0
end

-- Returns a ledger with one of its holdings.
local function open_ledger(key, name)
  local ledger = ledgers[key]
  if not ledger then
    local known = redis.call('HMGET', key, 'sums', 'alerts', 'breach', name)
    local day, notional, open_loss, result, second, count, held, unpriced = read_sums(known[1])
    ledger = {
      key = key, accounts = false, is_total = false, is_changed = false, was_kept = false, holdings = {}, changed = {},
      alerts = known[2] and cjson.decode(known[2]), alerts_changed = false, breach = known[3], breach_changed = false,
      day = day, notional = notional, open_loss = open_loss, result = result, second = second, count = count,
      held = held, unpriced = unpriced,
    }
    ledger.was_kept = is_kept(ledger)
    ledger.holdings[name] = read_holding(name, known[4])
    ledgers[key] = ledger
    opened[#opened + 1] = ledger
  end
  local holding = ledger.holdings[name]
  if not holding then
    holding = read_holding(name, redis.call('HGET', key, name))
    ledger.holdings[name] = holding
  end
  return ledger, holding
end

-- A list of moves, by position: 1 long, 3 short, 5 position (pairs), 7 open orders, 8 cash flow, 9 fees, 10 open loss,
-- 11 notional, 12 result of fills, 13 fills without a price of their fee, 14 the day that the notional counts for, 15 the one
-- that fills count for.
local POSITION, UNPRICED, DAY = 5, 13, 15

-- Whether moves leave every sum of a ledger exact. Nothing is changed. Daily sums may begin again at zero: the sum of both
-- magnitudes counts. This function and the next are called twice for each order: they read the moves by position.
local function moves_fit(ledger, h, m)
  local long, short, position, open_loss = h.long + m[1], h.short + m[3], h.position + m[5], ledger.open_loss + m[10]
  local most, least, start = MAX_EXACT, -MAX_EXACT, h.start
  if long >= most or long <= least or short >= most or short <= least or position >= most or position <= least
    or open_loss >= most or open_loss <= least or start >= most or start <= least then
    return false
  end
  local cash_flow, fees, notional, result = h.cash_flow, h.fees, ledger.notional, ledger.result
  local more_cash, more_fees, more_notional, more_result = m[8], m[9], m[11], m[12]
  return (cash_flow < 0 and -cash_flow or cash_flow) + (more_cash < 0 and -more_cash or more_cash) < most
    and (fees < 0 and -fees or fees) + (more_fees < 0 and -more_fees or more_fees) < most
    and (notional < 0 and -notional or notional) + (more_notional < 0 and -more_notional or more_notional) < most
    and (result < 0 and -result or result) + (more_result < 0 and -more_result or more_result) < most
end

-- Moves the sums of a ledger. Daily sums are those of its latest day: a later day begins them at zero, an earlier day's
-- moves count in what that day left to the next.
local function move(ledger, h, m)
  local position, position_rest, cash_flow, fees = m[5], m[6], m[8], m[9]
  local notional_day, day, carry = m[14], m[15], REST
  -- A fill may be booked on the day before its order's, by a worker that has not seen that day begin.
  local latest = day > notional_day and day or notional_day
  if latest > ledger.day then
    ledger.day, ledger.notional, ledger.result = latest, 0, 0
  end
  if notional_day == ledger.day then ledger.notional = ledger.notional + m[11] end
  if day == ledger.day then ledger.result = ledger.result + m[12] end
  ledger.open_loss, ledger.unpriced = ledger.open_loss + m[10], ledger.unpriced + m[13]
  if day > h.day then
    h.day, h.start, h.start_rest, h.cash_flow, h.fees = day, h.position, h.position_rest, 0, 0
  end
  -- What `add_pairs` does, without a call.
  local whole, rest = h.long + m[1], h.long_rest + m[2]
  if rest >= carry then whole, rest = whole + 1, rest - carry end
  h.long, h.long_rest = whole, rest
  whole, rest = h.short + m[3], h.short_rest + m[4]
  if rest >= carry then whole, rest = whole + 1, rest - carry end
  h.short, h.short_rest = whole, rest
  whole, rest = h.position + position, h.position_rest + position_rest
  if rest >= carry then whole, rest = whole + 1, rest - carry end
  h.position, h.position_rest = whole, rest
  if day == h.day then
    h.cash_flow, h.fees = h.cash_flow + cash_flow, h.fees + fees
  else
    h.start, h.start_rest = add_pairs(h.start, h.start_rest, position, position_rest)
  end
  h.open_orders = h.open_orders + m[7]
  if not h.is_changed then
    h.is_changed = true
    ledger.changed[#ledger.changed + 1] = h
  end
  ledger.is_changed = true
end

local function undo_of(m)
  local undone = {}
  for at = 1, 5, 2 do undone[at], undone[at + 1] = negate_pair(m[at], m[at + 1]) end
  for at = 7, 13 do undone[at] = -m[at] end
  undone[14], undone[15] = m[14], m[15]
  return undone
end

-- Opens the ledgers that an order counts in: the account's and its holding, that of all accounts and its net holding.
-- The first three arguments are key indices, of both ledgers and of the set of accounts that hold something.
local function open_both(account_key, total_key, accounts_key, name)
  local account, holding = open_ledger(KEYS[account_key], name)
  local total, net = open_ledger(KEYS[total_key], name)
  account.accounts = KEYS[accounts_key]
  total.is_total = true
  return account, holding, total, net
end

-- Moves the sums of an owner, the list of the arguments of `open_both`, whatever they become: what has happened already is
-- never refused.
local function force_both(owner, m)
  local account, holding, total, net = open_both(unpack(owner))
  move(account, holding, m)
  move(total, net, m)
end

-- Moves the sums of an owner. Returns false, with nothing moved, where a sum would not be exact.
local function move_both(owner, m)
  local account, holding, total, net = open_both(unpack(owner))
  if not moves_fit(account, holding, m) or not moves_fit(total, net, m) then return false end
  move(account, holding, m)
  move(total, net, m)
  return true
end

-- The loss of a ledger where this settlement's fills have taken it to its limit; it stands until its lock does.
-- `base` is the loss of the view without its fills, `limit` its limit (1e-6). Both are false where there is no view. A
-- command's watches are these two for the account, then for all accounts.
local function watch(ledger, day, base, limit)
  if not base or ledger.day ~= day then return '' end
  local loss = base - ledger.result
  if loss < limit then return '' end
  if not ledger.breach then
    ledger.breach, ledger.breach_changed, ledger.is_changed = integer(loss), true, true
  end
  return ledger.breach
end

-- Whether moves take a position through zero, or away from it.
local function crosses(h, m)
  local position, rest = add_pairs(h.position, h.position_rest, m[POSITION], m[POSITION + 1])
  if h.position < 0 then return not is_at_most(position, rest, 0, 0) or is_at_most(position, rest, h.position, h.position_rest) end
  return position < 0 or is_at_most(h.position, h.position_rest, position, rest)
end

-- A list of moves as a record holds it. Lua's own conversion would round numbers of more than 14 digits.
local function write_moves(moves)
  local numbers = {}
  for at = 1, #moves do numbers[at] = integer(moves[at]) end
  return table.concat(numbers, ' ')
end

-- Releases what an order that is being sent reserves, as its record says.
local function undo_reserved(record, owner)
  local reserved = redis.call('HGET', record, 'net')
  if not reserved then return end
  local moves = {}
  for number in string.gmatch(reserved, '%S+') do moves[#moves + 1] = tonumber(number) end
  force_both(owner, undo_of(moves))
end

local function write_holding(h)
  if is_small(h.long) and is_small(h.short) and is_small(h.position) and is_small(h.start) then
    return string.format(EIGHT_INTEGERS, h.long * REST + h.long_rest, h.short * REST + h.short_rest,
      h.position * REST + h.position_rest, h.start * REST + h.start_rest, h.day, h.cash_flow, h.fees, h.open_orders)
  end
  return write_pair(h.long, h.long_rest) .. ' ' .. write_pair(h.short, h.short_rest) .. ' '
    .. write_pair(h.position, h.position_rest) .. ' ' .. write_pair(h.start, h.start_rest) .. ' '
    .. string.format('%.0f %.0f %.0f %.0f', h.day, h.cash_flow, h.fees, h.open_orders)
end

-- Writes every ledger that has changed. A ledger that is kept is in the set of those that hold something, by its key;
-- another lives as long as its day counts.
local function write_ledgers()
  for _, ledger in ipairs(opened) do
    if ledger.is_changed then
      local fields, count = {'sums', ''}, 2
      for _, h in ipairs(ledger.changed) do
        local held = not is_flat(h)
        if held and not h.was_held then ledger.held = ledger.held + 1 end
        if h.was_held and not held then ledger.held = ledger.held - 1 end
        fields[count + 1], fields[count + 2] = h.name, write_holding(h)
        count = count + 2
      end
      fields[2] = string.format(EIGHT_INTEGERS, ledger.day, ledger.notional, ledger.open_loss, ledger.result,
        ledger.second, ledger.count, ledger.held, ledger.unpriced)
      if ledger.alerts_changed then
        fields[#fields + 1] = 'alerts'
        fields[#fields + 1] = cjson.encode(ledger.alerts)
      end
      if ledger.breach_changed then
        fields[#fields + 1] = 'breach'
        fields[#fields + 1] = ledger.breach
      end
      redis.call('HSET', ledger.key, unpack(fields))
      local is_kept_now = is_kept(ledger)
      if ledger.is_total then
        -- The sums of all accounts are never dropped.
      elseif is_kept_now and not ledger.was_kept then
        redis.call('PERSIST', ledger.key)
        redis.call('SADD', ledger.accounts, ledger.key)
      elseif not is_kept_now then
        redis.call('PEXPIRE', ledger.key, FLAT_TTL_MS)
        if ledger.was_kept then redis.call('SREM', ledger.accounts, ledger.key) end
      end
    end
  end
end

-- The id of the settlement in a document, or nil.
local function settlement_in(doc)
  local settlement = doc and cjson.decode(doc).settlement
  return settlement and settlement.id
end

-- The id of the settlement that made the newest version of a record, or nil: before the first report. `sid` is the record's
-- field; a record that was rebuilt has the id in its document only.
local function newest_settlement(record, version, sid)
  if version == 0 then return nil end
  return sid or settlement_in(redis.call('HGET', record, 'doc'))
end

-- The id of the settlement that made a version of an order that is not on the journal yet, or nil.
local function settlement_of(record, version, latest)
  if version == latest then return newest_settlement(record, version, redis.call('HGET', record, 'sid')) end
  return settlement_in(redis.call('HGET', record, 'p:' .. version))
end

-- The outbox of alerts: a hash with the document of each alert that is not published, by the alert's name, and a sorted
-- set of the names by moment (microseconds). Beyond the most, an alert is only its worker's to publish.
local MOST_WAITING_ALERTS = 10000

local function put_alert(documents, waiting, name, document)
  if redis.call('ZCARD', waiting) >= MOST_WAITING_ALERTS then return end
  if redis.call('HSETNX', documents, name, document) == 0 then return end
  local time = redis.call('TIME')
  redis.call('ZADD', waiting, string.format('%.0f', time[1] * 1000000 + time[2]), name)
end
