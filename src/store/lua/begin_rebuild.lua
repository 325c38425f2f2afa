-- Takes the store for a rebuild: until it is finished no other worker's script passes the epoch check.
--
-- KEYS  1 meta, 2 lease of the rebuild
-- ARGV  1 the rebuild's epoch (`healing:<token>`), 2 lease (ms), 3 the epoch it found stale, 4 number of its schema,
--       5 1 where everything is cleared and loaded, whatever the store holds, else 0
-- Returns {'begun', the journal sequence up to which this store knows everything, creation time of its journal or '',
--         '1' where the store is empty or half loaded (`meta.loading`): it is cleared and loaded as a whole; else '0'}
--         {'busy'} where another worker rebuilds it · {'rebuilt', epoch} where another worker has just done so
--         {'foreign', schema or ''} where the store follows another schema: no worker of this one touches it
-- Run by EVAL: its own text must not depend on what a restart has dropped.
local epoch = redis.call('HGET', KEYS[1], 'epoch') or ''
local schema = redis.call('HGET', KEYS[1], 'schema') or ''
if schema ~= ARGV[4] and (schema ~= '' or epoch ~= '') then return {'foreign', schema} end
if epoch ~= ARGV[3] and epoch ~= '' and string.sub(epoch, 1, 8) ~= 'healing:' then
  return {'rebuilt', epoch}
end
if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return {'busy'} end
-- The server's replication id: what is built here is stale as soon as it has another one.
local id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or ''
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'schema', ARGV[4], 'replication_id', id)
if epoch == '' or ARGV[5] == '1' then redis.call('HSET', KEYS[1], 'loading', '1') end
local known = redis.call('HMGET', KEYS[1], 'journal_sequence', 'journal_created', 'late_from', 'late_until', 'loading')
-- What is cleared and loaded as a whole has no limits in force yet: else the worker would take those here for them.
if known[5] == '1' then redis.call('HDEL', KEYS[1], 'limits_sequence', 'limits_hash') end
local from = tonumber(known[1] or '0')
-- What the store is known to lack is replayed, also where the highest sequence had passed it before that was known.
for one in string.gmatch(redis.call('HGET', KEYS[1], 'lost') or '', '%d+') do from = math.min(from, tonumber(one) - 1) end
-- While late events of an earlier epoch may still be missing here, the replay starts with them: it passes over the rest.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if known[3] and now < tonumber(known[4]) then from = math.min(from, tonumber(known[3]) - 1) end
return {'begun', string.format('%.0f', from), known[2] or '', known[5] or '0'}
