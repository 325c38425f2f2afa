-- Changes the shared state, marks a change as journaled, or reads it.
--
-- KEYS  1 meta, 2 state
-- ARGV  1 epoch, 2 `read` · `set`, version it builds on, new version, mode, trading state, daily notional limit (1e-6),
--                  daily loss limit (1e-6), document, `journaled` or ''; a value of '' is that of the settings
--                · `mark`, version that is on the journal
-- Returns {'state', version, mode or '', trading state or '', daily notional limit or '', daily loss limit or '',
--         document, journaled version}; {'superseded', …the same} where another change came first.
-- A change raises the generation: orders that were judged before it are judged again.
local bad = stale()
if bad then return bad end
local VALUES = {'mode', 'trading_state', 'daily_notional_limit', 'daily_loss_limit'}
local function read(verdict)
  local known = redis.call('HMGET', KEYS[2], 'version', 'mode', 'trading_state', 'daily_notional_limit',
    'daily_loss_limit', 'doc', 'journaled')
  return {
    verdict, known[1] or '0', known[2] or '', known[3] or '', known[4] or '', known[5] or '', known[6] or '',
    known[7] or '0',
  }
end
if ARGV[2] == 'set' then
  if sum(KEYS[2], 'version') ~= tonumber(ARGV[3]) then return read('superseded') end
  for at, name in ipairs(VALUES) do
    local value = ARGV[4 + at]
    if value == '' then redis.call('HDEL', KEYS[2], name) else redis.call('HSET', KEYS[2], name, value) end
  end
  redis.call('HSET', KEYS[2], 'version', ARGV[4], 'doc', ARGV[9])
  if ARGV[10] == 'journaled' then redis.call('HSET', KEYS[2], 'journaled', ARGV[4]) end
  redis.call('HINCRBY', KEYS[2], 'generation', 1)
elseif ARGV[2] == 'mark' then
  if tonumber(ARGV[3]) > sum(KEYS[2], 'journaled') then redis.call('HSET', KEYS[2], 'journaled', ARGV[3]) end
end
return read('state')
