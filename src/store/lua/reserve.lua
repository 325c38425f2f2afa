-- Answers a known id, or claims the order with everything it reserves: all caps hold, or nothing is changed.
--
-- KEYS  1 meta, 2 state, 3 leases, 4 outbox, then those the commands name by their index
-- ARGV  1 epoch, 2 most keys the database may hold, 3 time to live of a day's counters (ms),
--       4 most orders that may wait in the outbox,
--       then for each order a command (JSON) and a document:
--         k order record, i index key, op open set, oa keys of the open sets (key indices), n name, o order id, h content hash
--         a `claim`: reserve and claim · `probe`: only look · `deny`: record the document as the id's final outcome
--         t lease token, l lease (ms)
--         c caps {key index, field, delta, limit, field of the shared state that holds the limit or '', daily}
-- Returns for each order
--         {'known', stage, hash, order id, version, journaled version, journal sequence}
--         {'claimed' | 'over' | 'probed', sum before, limit, …} one pair for each cap, in order
--         {'denied'} · {'full'} · {'inexact'}: a sum would leave the exact range
-- Idempotent: a second claim or denial of the same id is answered 'known'.
local bad = stale()
if bad then return bad end
local now = now_ms()
local full = redis.call('DBSIZE') > tonumber(ARGV[2]) or redis.call('ZCARD', KEYS[4]) > tonumber(ARGV[4])

local function one(c, doc)
  local record = KEYS[c.k]
  local known = redis.call('HMGET', record, 'st', 'h', 'o', 'v', 'jv', 'seq')
  if known[1] then
    return {'known', known[1], known[2], known[3], known[4], known[5], known[6] or '0'}
  end
  if c.a == 'deny' then
    if full then return {'full'} end
    redis.call('HSET', record, 'st', 'denied', 'h', c.h, 'o', c.o, 'v', 1, 'jv', 0, 'doc', doc)
    redis.call('SET', KEYS[c.i], c.n)
    redis.call('ZADD', KEYS[4], now, c.n)
    return {'denied'}
  end
  local answer = {c.a == 'claim' and 'claimed' or 'probed'}
  for _, cap in ipairs(c.c) do
    local before = sum(KEYS[cap[1]], cap[2])
    local limit = cap[4]
    if cap[5] ~= '' then
      limit = tonumber(redis.call('HGET', KEYS[2], cap[5]) or limit)
    end
    answer[#answer + 1] = string.format('%.0f', before)
    answer[#answer + 1] = string.format('%.0f', limit)
    if c.a == 'claim' and math.abs(before + cap[3]) > MAX_EXACT then return {'inexact'} end
    if before + cap[3] > limit and c.a == 'claim' then answer[1] = 'over' end
  end
  if answer[1] ~= 'claimed' then return answer end
  if full then return {'full'} end
  for _, cap in ipairs(c.c) do
    redis.call('HINCRBY', KEYS[cap[1]], cap[2], string.format('%.0f', cap[3]))
    if cap[6] and redis.call('PTTL', KEYS[cap[1]]) < 0 then
      redis.call('PEXPIRE', KEYS[cap[1]], ARGV[3])
    end
  end
  redis.call('HSET', record, 'st', 'claimed', 'h', c.h, 'o', c.o, 'v', 0, 'jv', 0, 'tok', c.t, 'doc', doc)
  redis.call('SET', KEYS[c.i], c.n)
  redis.call('ZADD', KEYS[3], now + c.l, c.n)
  open(KEYS[c.op], c.n, KEYS[c.oa])
  return answer
end

local answers = {}
for at = 5, #ARGV, 2 do
  answers[#answers + 1] = one(cjson.decode(ARGV[at]), ARGV[at + 1])
end
return answers
