-- Drops remembered ids whose retention has ended, bucket by bucket, and merges buckets that have become small. The pace is
-- that of the whole store, whichever worker calls: every bucket is read about once an hour.
--
-- KEYS  1 meta · ARGV  1 epoch, 2 most buckets of one call
-- Returns {'swept', how many were dropped, how many are remembered, how many buckets there are}.
local bad = stale()
if bad then return bad end
local now = now_ms()
open_ids()
local place = redis.call('HMGET', IDS, 'swept_at', 'next_bucket')
local elapsed = now - tonumber(place[1] or now - HOUR_MS)
local due = math.min(tonumber(ARGV[2]), math.floor(ids.buckets * elapsed / HOUR_MS))
local hour, bucket, dropped = math.floor(now / HOUR_MS), tonumber(place[2] or '0'), 0
for number = 1, due do
  if number > 2 and is_long() then
    due = number - 1
    break
  end
  if bucket >= ids.buckets then bucket = 0 end
  local key = bucket_key(bucket)
  local entries = redis.call('HGETALL', key)
  for at = 1, #entries, 2 do
    if struct.unpack('>I3', entries[at + 1]) <= hour then
      dropped = dropped + redis.call('HDEL', key, entries[at])
    end
  end
  bucket = bucket + 1
end
ids.count = ids.count - dropped
for _ = 1, due do
  if is_long() then break end
  if ids.buckets > 1 and ids.count < ids.buckets * IDS_A_BUCKET / 4 then merge_bucket() end
end
if due > 0 then
  ids.is_changed = true
  -- A remainder of the time stays for the next call; a long pause is not made up for.
  local counted = elapsed > 2 * HOUR_MS and elapsed or due * HOUR_MS / ids.buckets
  redis.call('HSET', IDS, 'swept_at', string.format('%.0f', now - elapsed + math.floor(counted)),
    'next_bucket', string.format('%.0f', bucket))
end
write_ids()
return {'swept', tostring(dropped), string.format('%.0f', ids.count), string.format('%.0f', ids.buckets)}
