-- Writes final state into a store that is being rebuilt from nothing.
--
-- KEYS  1 meta, 2 lease of the rebuild, then the key of each command
-- ARGV  1 the rebuild's epoch, 2 lease (ms), then for each command: its name, how many arguments follow, and these
-- Returns {'loaded'}.
-- Idempotent. The rebuild's batches pass the epoch check only while no other worker has taken over.
local bad = stale()
if bad then return bad end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local at = 3
for key = 3, #KEYS do
  local count = tonumber(ARGV[at + 1])
  redis.call(ARGV[at], KEYS[key], unpack(ARGV, at + 2, at + 1 + count))
  at = at + 2 + count
end
return {'loaded'}
