-- Sets a latch, applies what the journal holds of latches, or reads them.
--
-- KEYS  1 meta, 2 state, 3 latches, 4 latches that are not on the journal, 5 documents of the alerts that are not published,
--       6 their names by moment, 7 `set` of a loss: the ledger whose loss it is
-- ARGV  1 epoch, 2 `set`, id, document, the most latches there may be, generation it was judged by or '', name of its
--                  alert or '', the alert's document
--                · `apply`, the journal sequence it builds on, the one it brings the store to, then for each event in the
--                  journal's order: `locked` or `lifted`, id, document of the latch
--                · `all` · `waiting`: only those that are not on the journal
-- Returns {'set'}; {'standing', document} where it stands already; {'full'}; {'outdated'} where another generation is in
--         force: the caller evaluates again
--         {'applied'}; {'moved'} where another worker has applied events in the meantime
--         {'latches', journal sequence up to which events are applied, then id, document and `waiting` or '' of each}
-- What changes a latch raises the generation: orders that were judged before it are judged again.
-- Idempotent: an event is applied once, by the sequence.
local bad = stale()
if bad then return bad end

local function changed()
  redis.call('HINCRBY', KEYS[2], 'generation', 1)
end

if ARGV[2] == 'set' then
  local standing = redis.call('HGET', KEYS[3], ARGV[3])
  if standing then
    if KEYS[7] then redis.call('HDEL', KEYS[7], 'breach') end
    return {'standing', standing}
  end
  if ARGV[6] ~= '' and (redis.call('HGET', KEYS[2], 'generation') or '0') ~= ARGV[6] then return {'outdated'} end
  if redis.call('HLEN', KEYS[3]) >= tonumber(ARGV[5]) then return {'full'} end
  redis.call('HSET', KEYS[3], ARGV[3], ARGV[4])
  redis.call('HSET', KEYS[4], ARGV[3], ARGV[4])
  if KEYS[7] then redis.call('HDEL', KEYS[7], 'breach') end
  if ARGV[7] ~= '' then put_alert(KEYS[5], KEYS[6], ARGV[7], ARGV[8]) end
  changed()
  return {'set'}
elseif ARGV[2] == 'apply' then
  if sum(KEYS[1], 'latch_sequence') ~= tonumber(ARGV[3]) then return {'moved'} end
  for at = 5, #ARGV, 3 do
    local what, id, document = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    local waiting = redis.call('HGET', KEYS[4], id)
    if waiting and waiting == document then
      redis.call('HDEL', KEYS[4], id)
    elseif waiting then
      -- It was set again since: its own event is still to come, and until then nothing opens it.
      what = ''
    end
    if what == 'locked' and redis.call('HGET', KEYS[3], id) ~= document then
      redis.call('HSET', KEYS[3], id, document)
      changed()
    elseif what == 'lifted' and redis.call('HDEL', KEYS[3], id) == 1 then
      changed()
    end
  end
  redis.call('HSET', KEYS[1], 'latch_sequence', ARGV[4])
  return {'applied'}
end
local answer = {'latches', string.format('%.0f', sum(KEYS[1], 'latch_sequence'))}
local listed, is_waiting = redis.call('HGETALL', ARGV[2] == 'all' and KEYS[3] or KEYS[4]), {}
for _, id in ipairs(redis.call('HKEYS', KEYS[4])) do is_waiting[id] = true end
for at = 1, #listed, 2 do
  answer[#answer + 1] = listed[at]
  answer[#answer + 1] = listed[at + 1]
  answer[#answer + 1] = is_waiting[listed[at]] and 'waiting' or ''
end
return answer
