-- Applies journal events to a store that is being rebuilt, or late ones after it: each order's versions once, in the
-- journal's order.
--
-- KEYS  1 meta, 2 lease of the rebuild, 3 outbox, 4 leases, 5 keys of the open sets, then those the commands name by their index
-- ARGV  1 the rebuild's epoch, or the one in force, 2 lease (ms), then for each event a command (MessagePack, by name) and a
--       document:
--         k order record, op open set, du due set (key indices), n name, o order id, t the same where the key is no
--         part of it, else '', h content
--         v version, st stage after it ('open', 'ended' or 'denied'), q journal sequence, at next due moment (ms) or 0
--         ttl of a remembered id (ms), never 0: a repeated event must find its order while this replay lasts
--         w owner, d moves since the version before (from nothing for 1), or false; e where d counts from nothing: the
--         list of moves that the order's earlier events made on other days
--         b the settlement that made the version before, where it is known
--         u where it came first and something else stands in its place: that order's id o and version v, open set op,
--         due set du, its owner w and d, the list of moves that undo on each day what it moved then; d and e above then
--         count from nothing. What stands there is read again: it may have been marked as journaled, and as the first.
-- Returns {'replayed', how many changed something, how many events were applied: the first ones, then the index, from 0, of
--         each event that came before what stands in its place, or builds on another effect than what stands there}
-- An event that the store has settled already only counts as journaled.
local bad = stale()
if bad then return bad end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
now_ms()
local changed, conflicts, highest, done = 0, {}, 0, 0

-- Whether what is known came after an event on the journal, or is not known to be on it.
local function is_later(known, c, first)
  local journaled = tonumber(known[3])
  if known[4] ~= c.o then return journaled == 0 or first and c.q < tonumber(first) end
  return c.v > journaled or c.q < tonumber(known[6] or '0')
end

-- Whether the newest version of an order, or what is remembered of it, was made by this settlement, as far as is known.
local function is_base(record, e, version, sid, settlement)
  if e then return may_be_made_by(e, settlement) end
  local made_by = newest_settlement(record, version, sid)
  return not made_by or made_by == settlement
end

for at = 3, #ARGV, 2 do
  if done > 1 and is_long() then break end
  done = done + 1
  local c, doc = cmsgpack.unpack(ARGV[at]), ARGV[at + 1]
  local record = KEYS[c.k]
  local known = redis.call('HMGET', record, 'st', 'v', 'jv', 'o', 'fs', 'seq', 'h', 'sid')
  local entry = not known[1] and recall(c.n)
  local e = entry and read_entry(entry)
  if e then
    local order_id = is_entry_of(e, c.o) and c.o or c.u and is_entry_of(e, c.u.o) and c.u.o or ''
    known = {e.stage, e.version, e.version, order_id, e.first, e.sequence, e.content}
  end
  local version = tonumber(known[2] or '0')
  local first = known[5]
  if c.u and known[1] and known[4] == c.u.o and version == c.u.v and is_later(known, c, first) then
    -- What stands here came later, and is void: its moves are undone, and the first takes its place.
    for _, moves in ipairs(c.u.d) do force_both(c.u.w, moves) end
    redis.call('DEL', record)
    if e then forget(c.n) end
    leave_open(KEYS[c.u.op], c.n, KEYS[5])
    redis.call('ZREM', KEYS[c.u.du], c.n)
    redis.call('ZREM', KEYS[4], c.n)
    if known[4] ~= c.o or c.v == 1 then first = false end
    known, version = {}, 0
  end
  if known[1] and known[4] ~= c.o and known[1] ~= 'released' then
    -- Of two orders for one id the first on the journal counts; the later is void.
    if is_later(known, c, first) then
      conflicts[#conflicts + 1] = tostring((at - 3) / 2)
    end
  elseif known[1] and c.v <= version then
    local other = c.v > tonumber(known[3]) and settlement_of(record, c.v, version)
    local own = settlement_in(doc)
    if c.v == version and c.v == tonumber(known[3]) and c.q < tonumber(known[6] or '0') then
      if e then other = e.settlement ~= end_of(own) and 'another' or own else other = newest_settlement(record, version, known[8]) end
    end
    if other and own and other ~= own then
      -- Another effect of this version came first on the journal.
      conflicts[#conflicts + 1] = tostring((at - 3) / 2)
    elseif c.v > tonumber(known[3]) then
      if c.v == version then redis.call('ZREM', KEYS[3], c.n) end
      if c.v == version and known[1] ~= 'open' then
        remember(c.n, bits_of(c.n), c.o, c.t, known[1], known[7], c.v, c.q, tonumber(first or c.q), known[8], c.ttl)
        redis.call('DEL', record)
      else
        redis.call('HSET', record, 'jv', c.v, 'seq', string.format('%.0f', c.q))
        redis.call('HDEL', record, 'p:' .. c.v)
      end
    end
  elseif c.b and version > 0 and known[4] == c.o and not is_base(record, e, version, known[8], c.b) then
    -- It builds on another effect than what stands here.
    conflicts[#conflicts + 1] = tostring((at - 3) / 2)
  else
    -- The first report holds its moves from nothing; what the order reserves by its submission is released.
    if version == 0 then undo_reserved(record, c.w) end
    for _, moves in ipairs(c.e or {}) do force_both(c.w, moves) end
    if c.d then force_both(c.w, c.d) end
    changed = changed + 1
    redis.call('DEL', record)
    if c.st == 'open' then
      redis.call('HSET', record, 'st', 'open', 'h', content_of(c.h), 'o', c.o, 'v', c.v, 'jv', c.v, 'seq',
        string.format('%.0f', c.q), 'doc', doc, 'fs', string.format('%.0f', tonumber(first or c.q)))
      enter_open(KEYS[c.op], c.n, KEYS[5])
    else
      remember(c.n, bits_of(c.n), c.o, c.t, c.st, content_of(c.h), c.v, c.q, tonumber(first or c.q), settlement_in(doc), c.ttl)
      leave_open(KEYS[c.op], c.n, KEYS[5])
    end
    redis.call('ZREM', KEYS[3], c.n)
    redis.call('ZREM', KEYS[4], c.n)
    if c.at > 0 then redis.call('ZADD', KEYS[c.du], c.at, c.n) else redis.call('ZREM', KEYS[c.du], c.n) end
  end
  local is_conflict = conflicts[#conflicts] == tostring((at - 3) / 2)
  if is_conflict then note_lost(c.q) else note_replayed(c.q) end
  highest = math.max(highest, c.q)
end
raise_watermark(highest)
write_ledgers()
write_ids()
return {'replayed', changed, done, unpack(conflicts)}
