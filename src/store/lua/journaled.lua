-- Marks events as being on the journal: they leave the outbox, and of an ended order only a remembered id stays.
--
-- KEYS  1 meta, 2 outbox, then those the commands name by their index
-- ARGV  1 epoch, then for each event a command (MessagePack values, one behind the other):
--         order record (key index), name, the name's last 30 bits, order id, the same where the key is no part of it, else
--         '', version, journal sequence, id of its settlement or '', time to live of a remembered id (ms)
-- Returns for each event {'marked' or 'lost'}, and behind them the time of the call (us): 'lost' where the store does not
-- know the order, its version or this effect, as after a loss of its last writes; the watermark does not pass such an event
-- until it is replayed.
-- Idempotent: a version that is marked already is passed over.
local bad = stale()
if bad then return bad end
now_ms()
local highest, answer, journaled = 0, {}, {}
for at = 2, #ARGV do
  if #answer > 1 and is_long() then break end
  local record_key, name, bits, order_id, tail, version, sequence, settlement, ttl = cmsgpack.unpack(ARGV[at])
  local record = KEYS[record_key]
  local known = redis.call('HMGET', record, 'st', 'v', 'jv', 'o', 'fs', 'sid', 'h')
  if not known[1] then
    local entry = recall(name, bits)
    local e = entry and read_entry(entry)
    if e and is_entry_of(e, order_id) then
      known = {e.stage, e.version, e.version, order_id, nil, may_be_made_by(e, settlement) and settlement or 'another'}
    end
  end
  local stage, latest, marked, first = known[1], tonumber(known[2]), tonumber(known[3]), known[5]
  local is_known = stage and known[4] == order_id and version <= latest
  if is_known and (version > marked or version == latest) and settlement ~= '' then
    local id = version == latest and known[6] or settlement_of(record, version, latest)
    is_known = not id or id == settlement
  end
  answer[#answer + 1] = {is_known and 'marked' or 'lost'}
  if is_known then highest = math.max(highest, sequence) else note_lost(sequence) end
  if is_known and version == latest and version == marked then
    -- Nothing of it waits: a Redis restored from a damaged file can hold its name without its event.
    journaled[#journaled + 1] = name
  end
  if is_known and version > marked then
    if version == latest then journaled[#journaled + 1] = name end
    if version == latest and (stage == 'ended' or stage == 'denied') then
      remember(name, bits, order_id, tail, stage, known[7], version, sequence, tonumber(first or sequence), known[6], ttl)
      redis.call('DEL', record)
    else
      local text = integer(sequence)
      redis.call('HSET', record, 'jv', version, 'seq', text, 'fs', first or text)
      -- The latest version is never among the superseded ones.
      for v = marked + 1, math.min(version, latest - 1) do redis.call('HDEL', record, 'p:' .. v) end
    end
  end
end
write_ids()
if #journaled > 0 then redis.call('ZREM', KEYS[2], unpack(journaled)) end
raise_watermark(highest)
answer[#answer + 1] = time_spent_us()
return answer
