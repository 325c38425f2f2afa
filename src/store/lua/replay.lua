-- Applies journal events to a store that is being healed, or late ones after it: each order's versions once, in the
-- journal's order.
--
-- KEYS  1 meta, 2 healing lock, 3 outbox, 4 leases, then those the commands name by their index
-- ARGV  1 the healer's epoch, or the one in force, 2 lock (ms), 3 ttl of a day's counters (ms), then for each event a command (JSON) and a
--       document:
--         k order record, i index key, op open set, du due set (key indices), n name, o order id, h content hash
--         v version, st stage after it ('open', 'ended' or 'denied'), q journal sequence, at next due moment (ms) or 0
--         ttl of a tombstone (ms), never 0: a repeated event must find its order while this replay lasts; d moves since the version before (from nothing for 1)
--         sn names of sums (key index), sm the name of those the moves belong to
-- Returns {'replayed', how many changed something}. An event the store has settled already only counts as journaled.
local bad = stale()
if bad then return bad end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local changed = 0
for at = 4, #ARGV, 2 do
  local c, doc = cjson.decode(ARGV[at]), ARGV[at + 1]
  local record = KEYS[c.k]
  local known = redis.call('HMGET', record, 'st', 'v', 'jv', 'o')
  local version = tonumber(known[2] or '0')
  if known[1] and known[4] ~= c.o then
    -- Of two orders for one id the first on the journal counts; the later is void.
    changed = changed
  elseif known[1] and c.v <= version then
    if c.v > tonumber(known[3]) then
      redis.call('HSET', record, 'jv', c.v, 'seq', string.format('%.0f', c.q))
      redis.call('HDEL', record, 'p:' .. c.v)
      if c.v == version then
        redis.call('ZREM', KEYS[3], c.n)
        if known[1] ~= 'open' then
          redis.call('HDEL', record, 'doc')
          redis.call('PEXPIRE', record, c.ttl)
          redis.call('PEXPIRE', KEYS[c.i], c.ttl)
        end
      end
    end
  else
    move_sums(c.d, ARGV[3])
    if #c.d > 0 then redis.call('SADD', KEYS[c.sn], c.sm) end
    changed = changed + 1
    redis.call('DEL', record)
    if c.st == 'open' then
      redis.call('HSET', record, 'st', 'open', 'h', c.h, 'o', c.o, 'v', c.v, 'jv', c.v, 'seq',
        string.format('%.0f', c.q), 'doc', doc)
      redis.call('SET', KEYS[c.i], c.n)
      redis.call('SADD', KEYS[c.op], c.n)
    else
      redis.call('HSET', record, 'st', c.st, 'h', c.h, 'o', c.o, 'v', c.v, 'jv', c.v, 'seq',
        string.format('%.0f', c.q))
      redis.call('PEXPIRE', record, c.ttl)
      redis.call('SET', KEYS[c.i], c.n, 'PX', c.ttl)
      redis.call('SREM', KEYS[c.op], c.n)
    end
    redis.call('ZREM', KEYS[3], c.n)
    redis.call('ZREM', KEYS[4], c.n)
    if c.at > 0 then redis.call('ZADD', KEYS[c.du], c.at, c.n) else redis.call('ZREM', KEYS[c.du], c.n) end
  end
  if c.q > sum(KEYS[1], 'journal_sequence') then
    redis.call('HSET', KEYS[1], 'journal_sequence', string.format('%.0f', c.q))
  end
end
return {'replayed', changed}
