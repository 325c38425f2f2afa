-- Marks events as being on the journal: they leave the outbox, and of an ended order only a remembered id stays.
--
-- KEYS  1 meta, 2 outbox, then those the commands name by their index
-- ARGV  1 epoch, then for each event a command (MessagePack, by name):
--         k order record (key index), n name, o order id, t the same where the key is no part of it, else '',
--         v version, q journal sequence, s id of its settlement or '', ttl of a remembered id (ms)
-- Returns {'marked' or 'lost', …} one for each event: 'lost' where the store does not know the order its version or
-- this effect, as after a loss of its last writes; the journal's watermark does not pass such an event.
-- Idempotent: a version that is marked already is passed over.
local bad = stale()
if bad then return bad end
local highest, lowest_lost = 0, math.huge
local answer, journaled = {}, {}
for at = 2, #ARGV do
  local c = cmsgpack.unpack(ARGV[at])
  local record = KEYS[c.k]
  local known = redis.call('HMGET', record, 'st', 'v', 'jv', 'o', 'fs', 'sid', 'h')
  if not known[1] then
    local entry = recall(c.n)
    local e = entry and read_entry(entry)
    if e and is_entry_of(e, c.o) then known = {e.stage, e.version, e.version, c.o} end
  end
  local is_known = known[1] and known[4] == c.o and c.v <= tonumber(known[2])
  if is_known and c.v > tonumber(known[3]) and c.s ~= '' then
    local id = c.v == tonumber(known[2]) and known[6] or settlement_of(record, c.v, tonumber(known[2]))
    is_known = not id or id == c.s
  end
  answer[#answer + 1] = is_known and 'marked' or 'lost'
  if not is_known then lowest_lost = math.min(lowest_lost, c.q) end
  if is_known and c.v > tonumber(known[3]) then
    local sequence = string.format('%.0f', c.q)
    local is_latest = c.v == tonumber(known[2])
    if is_latest then journaled[#journaled + 1] = c.n end
    if is_latest and (known[1] == 'ended' or known[1] == 'denied') then
      remember(c.n, c.o, c.t, known[1], known[7], c.v, c.q, tonumber(known[5] or sequence), known[6], c.ttl)
      redis.call('DEL', record)
    else
      redis.call('HSET', record, 'jv', c.v, 'seq', sequence, 'fs', known[5] or sequence)
      -- The latest version is never among the superseded ones.
      for v = tonumber(known[3]) + 1, math.min(c.v, tonumber(known[2]) - 1) do
        redis.call('HDEL', record, 'p:' .. v)
      end
    end
  end
  if c.q > highest then highest = c.q end
end
write_ids()
if #journaled > 0 then redis.call('ZREM', KEYS[2], unpack(journaled)) end
if highest > sum(KEYS[1], 'journal_sequence') and lowest_lost == math.huge then
  redis.call('HSET', KEYS[1], 'journal_sequence', string.format('%.0f', highest))
end
return answer
