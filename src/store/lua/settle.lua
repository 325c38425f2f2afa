-- Books one effect of an order: its next version, the moves of the sums, and the event in the outbox, all or nothing.
--
-- KEYS  1 meta, 2 leases, 3 outbox, 4 state, 5 keys of the open sets, then those the commands name by their index
-- ARGV  1 epoch, 2 time to live of a day's counters (ms), then for each order a command (JSON) and a document:
--         k order record, i index key, op open set, du due set (key indices), n name, o order id
--         v the version this builds on, t the lease it needs or '', s the settlement's own id
--         dl deadline (ms, Redis' clock) or 0, st stage after it ('open' or 'ended'), at next due moment (ms) or 0
--         d moves {key index, field, delta, daily}
-- Returns for each order
--         {'booked', version, document, …}: the events before this one that are not on the journal, in order
--         {'superseded', document}: another effect came first; the order's latest document ('' once journaled and ended)
--         {'lease'} the lease is another's · {'late'} past the deadline · {'halted'} nothing new takes effect · {'missing'} or another order's id · {'inexact'}
-- Idempotent: the same settlement a second time is answered 'booked' and changes nothing.
local bad = stale()
if bad then return bad end
local now = now_ms()

local function pending(record, journaled, version, latest)
  local answer = {'booked'}
  for v = journaled + 1, version do
    local doc = v == version and latest or redis.call('HGET', record, 'p:' .. v)
    if doc then
      answer[#answer + 1] = tostring(v)
      answer[#answer + 1] = doc
    end
  end
  return answer
end

local function one(c, doc)
  local record = KEYS[c.k]
  local known = redis.call('HMGET', record, 'st', 'v', 'jv', 'tok', 'sid', 'o')
  if not known[1] or known[6] ~= c.o then return {'missing'} end
  -- It was given back, and nothing of it was sent.
  if known[1] == 'releasing' or known[1] == 'released' then return {'missing'} end
  local version, journaled = tonumber(known[2]), tonumber(known[3])
  if known[5] == c.s then
    local before = redis.call('HGET', record, 'p:' .. (version - 1))
    return pending(record, journaled, version - 1, before or nil)
  end
  if version ~= c.v or known[1] == 'denied' then return {'superseded', redis.call('HGET', record, 'doc') or ''} end
  if c.t ~= '' and known[4] ~= c.t then return {'lease'} end
  if c.dl > 0 and now >= c.dl then return {'late'} end
  -- A deadline stands where this settlement is the sending: a paper venue's effect may not begin while trading is halted.
  if c.dl > 0 and redis.call('HGET', KEYS[4], 'trading_state') == 'halted' then return {'halted'} end
  if not moves_fit(c.d) then return {'inexact'} end
  -- The document before this one is read only where it still waits for the journal: Lua hashes every byte it is given.
  local latest = version > journaled and redis.call('HGET', record, 'doc')
  local answer = pending(record, journaled, version, latest)
  if latest then
    redis.call('HSET', record, 'p:' .. version, latest)
  end
  move_sums(c.d, ARGV[2])
  redis.call('HSET', record, 'st', c.st, 'v', version + 1, 'sid', c.s, 'doc', doc)
  redis.call('HDEL', record, 'tok')
  redis.call('PERSIST', record)
  if known[1] == 'ended' then redis.call('PERSIST', KEYS[c.i]) end
  redis.call('ZREM', KEYS[2], c.n)
  redis.call('ZADD', KEYS[3], 'NX', now, c.n)
  if c.st == 'ended' then leave_open(KEYS[c.op], c.n, KEYS[5]) else enter_open(KEYS[c.op], c.n, KEYS[5]) end
  if c.at > 0 then redis.call('ZADD', KEYS[c.du], c.at, c.n) else redis.call('ZREM', KEYS[c.du], c.n) end
  return answer
end

local answers = {}
for at = 3, #ARGV, 2 do
  answers[#answers + 1] = one(cjson.decode(ARGV[at]), ARGV[at + 1])
end
return answers
