-- Applies the journal's submissions and releases to a store that is being rebuilt, or late ones after it, in the
-- journal's order. An order known only by its submission counts as being sent: reserved in full, and asked about. So does
-- one whose claim the rebuild has withdrawn: that its worker sent it may be what the store has lost.
--
-- KEYS  1 meta, 2 lease of the rebuild, 3 outbox, 4 leases, 5 keys of the open sets, then those the commands name by their index
-- ARGV  1 the rebuild's epoch, or the one in force, 2 lease (ms), 3 lease (ms), 4 whether the store is being rebuilt (1 or
--       0), then for each event a command (MessagePack, by name) and the order's document:
--         k order record, op open set (key indices), n name, o order id, h content
--         st `sending` or `released`, t the claim's token, q journal sequence, ttl of a released order (ms)
--         w owner, d what it reserves (moves)
-- Returns {'replayed', how many changed something, how many events were applied: the first ones}.
-- Idempotent: an event of a claim that is known, or that stands before what is known, changes nothing.
local bad = stale()
if bad then return bad end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local now, changed, highest, done = now_ms(), 0, 0, 0

-- A claim that a rebuild has withdrawn. The store may have lost that its order was submitted and sent.
local function is_withdrawn(known)
  return ARGV[4] == '1' and known[1] == 'releasing' and string.sub(known[6] or '', 1, 8) == 'healing:'
end

-- A report of the order, or an order that came first, says more than its submission. In a store in use a claim goes before
-- one that the store has lost: the worker that held that cannot send any more. An order is claimed under another token only
-- once the release of the claim before is journaled: beside a claim or an order that is being sent, the submission of another
-- claim is one that was released, and its worker was late.
local function is_submitted(known, c)
  if not known[1] then return not recall(c.n) end
  if known[3] ~= c.o then return known[1] == 'released' or is_withdrawn(known) end
  if tonumber(known[2]) > 0 or tonumber(known[5] or '0') >= c.q then return false end
  if is_withdrawn(known) then return known[4] == c.t end
  return known[4] ~= c.t and known[1] == 'released'
end

local function is_released(known, c)
  if not known[1] then return not recall(c.n) end
  if known[3] ~= c.o or tonumber(known[2]) > 0 then return false end
  -- The release of a later claim, whose submission has not come, is the one to remember: that may come yet.
  if known[1] == 'released' then return known[4] ~= c.t and tonumber(known[5] or '0') < c.q end
  return known[4] == c.t and (known[1] == 'sending' or known[1] == 'releasing')
end

for at = 5, #ARGV, 2 do
  if done > 1 and is_long() then break end
  done = done + 1
  local c, doc = cmsgpack.unpack(ARGV[at]), ARGV[at + 1]
  local record, sequence = KEYS[c.k], string.format('%.0f', c.q)
  local known = redis.call('HMGET', record, 'st', 'v', 'o', 'tok', 'sq', 'by')
  local is_sending = c.st == 'sending'
  if is_sending and is_submitted(known, c) or not is_sending and is_released(known, c) then
    changed = changed + 1
    undo_reserved(record, c.w)
    redis.call('DEL', record)
    redis.call('HSET', record, 'st', c.st, 'h', content_of(c.h), 'o', c.o, 'v', 0, 'jv', 0, 'tok', c.t, 'sq', sequence)
    redis.call('ZREM', KEYS[3], c.n)
    if is_sending then
      force_both(c.w, c.d)
      redis.call('HSET', record, 'doc', doc, 'net', write_moves(c.d))
      enter_open(KEYS[c.op], c.n, KEYS[5])
      redis.call('ZADD', KEYS[4], now + tonumber(ARGV[3]), c.n)
    else
      redis.call('PEXPIRE', record, c.ttl)
      leave_open(KEYS[c.op], c.n, KEYS[5])
      redis.call('ZREM', KEYS[4], c.n)
    end
  end
  highest = math.max(highest, c.q)
end
raise_watermark(highest)
write_ledgers()
return {'replayed', changed, done}
