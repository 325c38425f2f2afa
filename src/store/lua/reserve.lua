-- Answers a known id, or claims the order with everything it reserves: all caps hold, or nothing is reserved.
--
-- KEYS  1 meta, 2 state, 3 leases, 4 outbox, then those the commands name by their index
-- ARGV  1 epoch, 2 most keys the database may hold, 3 time to live of a day's counters (ms),
--       4 most orders that may wait in the outbox, 5 how long a rule stays silent after an alert (ms),
--       6 most names of sums, 7 how old the figures may be that an order was judged by (ms),
--       then for each order a command (JSON) and a document:
--         k order record, i index key (key indices), n name, o order id, h content hash
--         a `look`: only whether it is known · `probe`: and what the caps see · `claim`: reserve and claim ·
--           `reduce`: claim if it is a reduction · `deny`: record the document as the id's final outcome
--       and for `probe`, `claim` and `reduce`
--         g generation of the control it was judged by, v when the figures were taken (ms, Redis' clock)
--         x exposure {key index, field, lots, 1 for short or -1 for long, lot (1e-8) where fees are paid in the base asset, else 0}
--         c caps {key index, field, '@' for the exposure or '' for nothing, delta, most after the order, from where it
--           alerts or false, below where it is calm, whether a reduction passes it, name of the alert}
--         w orders of this second {key index, most}; they count here, whatever becomes of the order · m whether they do
--         u duplicates {key index, window (ms), whether one is stopped} or false
--       and for `claim` and `reduce`
--         op open set, oa keys of the open sets (key indices), t lease token, l lease (ms), d moves {key index, field, delta, daily}
--         s the set of names of sums (key index), sn the name of these
-- Returns for each order
--         {'known', stage, hash, order id, version, journaled version, journal sequence}
--         {'generation', generation}: it has to be judged anew
--         {'claimed' | 'over' | 'probed', reduction (0 or 1), duplicate (0 or 1), how many rates, orders of this second
--          before it for each, then for each cap the measure before it and whether it is the first to alert (0 or 1)}
--         {'denied'} · {'full'} · {'inexact'}: a sum would leave the exact range
-- A released order of the same order id and content counts as unknown.
-- Idempotent: a second claim or denial of the same id is answered 'known'.
local bad = stale()
if bad then return bad end
local now = now_ms()
local generation = redis.call('HGET', KEYS[2], 'generation') or '0'
local full = redis.call('DBSIZE') > tonumber(ARGV[2]) or redis.call('ZCARD', KEYS[4]) > tonumber(ARGV[4])

-- The exposure before the order: fees paid in the base asset have made the position smaller, by whole lots against us.
local function exposure(x)
  local value = sum(KEYS[x[1]], x[2])
  if x[5] == 0 then return value end
  local fees = sum(KEYS[x[1]], 'base_fees')
  local rest = math.fmod(fees, x[5])
  if rest < 0 then rest = rest + x[5] end
  local lots = (fees - rest) / x[5]
  if x[4] < 0 then return value - lots end
  return value + lots + (rest > 0 and 1 or 0)
end

-- Counts the order in this second, and returns how many there were before it, and whether that leaves no room.
local function rates(c, answer)
  local over = false
  local second = math.floor(now / 1000)
  local counts = {}
  for at, rate in ipairs(c.w) do
    local known = redis.call('HMGET', KEYS[rate[1]], 'second', 'count')
    counts[at] = tonumber(known[1]) == second and tonumber(known[2]) or 0
    answer[#answer + 1] = tostring(counts[at])
    over = over or counts[at] >= rate[2]
  end
  -- What one rate has no room for counts at none: an account beyond its own takes nothing of its broker's.
  if c.m and not over then
    for at, rate in ipairs(c.w) do
      redis.call('HSET', KEYS[rate[1]], 'second', second, 'count', counts[at] + 1)
      redis.call('PEXPIRE', KEYS[rate[1]], 2000)
    end
  end
  return over
end

-- Looks at one cap: the measure before the order, whether it has room, and whether it alerts anew.
local function look(cap, exposed, reduction)
  local known = redis.call('HMGET', KEYS[cap[1]], cap[8], cap[2])
  local before = 0
  if cap[2] == '@' then before = exposed elseif cap[2] ~= '' then before = tonumber(known[2] or '0') end
  local after = before + cap[3]
  local fits = after <= cap[4] or (cap[7] and reduction)
  local told = known[1] and tonumber(known[1])
  local change = false
  if cap[5] and after >= cap[5] then
    if not told or now - told >= tonumber(ARGV[5]) then change = 'alert' end
  elseif told and (not cap[5] or after < cap[6]) then
    change = 'calm'
  end
  return before, fits, change
end

local function claim(c, doc)
  local record = KEYS[c.k]
  for _, cap in ipairs(c.c) do
    if cap.change == 'alert' then
      redis.call('HSET', KEYS[cap[1]], cap[8], now)
    elseif cap.change == 'calm' then
      redis.call('HDEL', KEYS[cap[1]], cap[8])
    end
  end
  move_sums(c.d, ARGV[3])
  if c.u then redis.call('SET', KEYS[c.u[1]], c.n, 'PX', c.u[2]) end
  redis.call('SADD', KEYS[c.s], c.sn)
  redis.call('HSET', record, 'st', 'claimed', 'h', c.h, 'o', c.o, 'v', 0, 'jv', 0, 'tok', c.t, 'doc', doc)
  redis.call('PERSIST', record)
  redis.call('SET', KEYS[c.i], c.n)
  redis.call('ZADD', KEYS[3], now + c.l, c.n)
  enter_open(KEYS[c.op], c.n, KEYS[c.oa])
end

local function judge(c, doc)
  if string.format('%.0f', c.g) ~= generation or now - c.v > tonumber(ARGV[7]) then return {'generation', generation} end
  local claims = c.a == 'claim' or c.a == 'reduce'
  local exposed = exposure(c.x)
  local reduction = exposed + c.x[3] <= 0
  local known = c.u and redis.call('GET', KEYS[c.u[1]])
  local duplicate = known and known ~= c.n
  local answer = {'', reduction and '1' or '0', duplicate and '1' or '0', tostring(#c.w)}
  local over = rates(c, answer) or (duplicate and c.u[3]) or (c.a == 'reduce' and not reduction)
  for _, cap in ipairs(c.c) do
    local before, fits
    before, fits, cap.change = look(cap, exposed, reduction)
    answer[#answer + 1] = string.format('%.0f', before)
    answer[#answer + 1] = cap.change == 'alert' and '1' or '0'
    over = over or not fits
  end
  answer[1] = not claims and 'probed' or over and 'over' or 'claimed'
  if answer[1] == 'claimed' then
    local is_new = redis.call('SISMEMBER', KEYS[c.s], c.sn) == 0
    if full or is_new and redis.call('SCARD', KEYS[c.s]) >= tonumber(ARGV[6]) then return {'full'} end
    if not moves_fit(c.d) then return {'inexact'} end
    claim(c, doc)
  end
  return answer
end

local function one(c, doc)
  local record = KEYS[c.k]
  local known = redis.call('HMGET', record, 'st', 'h', 'o', 'v', 'jv', 'seq')
  -- A released order is claimed anew under its own id, by whoever knows it.
  if known[1] and not (known[1] == 'released' and known[3] == c.o and known[2] == c.h) then
    return {'known', known[1], known[2], known[3], known[4], known[5], known[6] or '0'}
  end
  if c.a == 'look' then return {'probed', '0', '0', '0'} end
  if c.a == 'deny' then
    if full then return {'full'} end
    redis.call('HSET', record, 'st', 'denied', 'h', c.h, 'o', c.o, 'v', 1, 'jv', 0, 'doc', doc)
    redis.call('PERSIST', record)
    redis.call('SET', KEYS[c.i], c.n)
    redis.call('ZADD', KEYS[4], now, c.n)
    return {'denied'}
  end
  return judge(c, doc)
end

local answers = {}
for at = 8, #ARGV, 2 do
  answers[#answers + 1] = one(cjson.decode(ARGV[at]), ARGV[at + 1])
end
return answers
