-- Changes the shared state, marks a change as journaled, or reads it.
--
-- KEYS  1 meta, 2 state
-- ARGV  1 epoch, 2 `read` · `set`, version it builds on, new version, daily notional limit (1e-6), document,
--                  `journaled` or ''
--                · `mark`, version that is on the journal
-- Returns {'state', version, daily notional limit or '', document, journaled version}; {'superseded', …the same} where
--         another change came first.
local bad = stale()
if bad then return bad end
local function read(verdict)
  local known = redis.call('HMGET', KEYS[2], 'version', 'daily_notional_limit', 'doc', 'journaled')
  return {verdict, known[1] or '0', known[2] or '', known[3] or '', known[4] or '0'}
end
local version = sum(KEYS[2], 'version')
if ARGV[2] == 'set' then
  if version ~= tonumber(ARGV[3]) then return read('superseded') end
  redis.call('HSET', KEYS[2], 'version', ARGV[4], 'daily_notional_limit', ARGV[5], 'doc', ARGV[6])
  if ARGV[7] == 'journaled' then redis.call('HSET', KEYS[2], 'journaled', ARGV[4]) end
elseif ARGV[2] == 'mark' then
  if tonumber(ARGV[3]) > sum(KEYS[2], 'journaled') then redis.call('HSET', KEYS[2], 'journaled', ARGV[3]) end
end
return read('state')
