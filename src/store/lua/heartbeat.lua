-- The dead man's switches: each fires where its account sends no heartbeat for its time.
--
-- KEYS  1 meta, 2 switches, 3 switches that are not on the journal, 4 their expiries, 5 switches that have fired,
--       6 their turns, 7 marks of the sweeps
-- ARGV  1 epoch, 2 and the rest:
--       `beat`, account, time (ms): a heartbeat of the account
--       `arm`, account, time (ms), document, the most switches: arms a switch, or shortens its time
--       `apply`, the journal sequence it builds on, the one it brings the store to, then for each event in the journal's
--          order: `armed` or `disarmed`, account, time (ms), document
--       `absent`, accounts: which of them have no switch
--       `find`, account · `waiting`, the most: those that are not on the journal
--       `expire`, gap (ms), the most, turn (ms): lets switches fire whose time is over; the first turn at each is due after
--          the turn. After a gap in which no worker has called this, no heartbeat may have been heard either: each switch gets
--          its whole time again
--       `turns`, turn (ms), the most: takes turns at switches that have fired
--       `locked`, account, `1` where its next turn is due now or '': the account of a switch that has fired is locked
-- Returns {'armed', expiry (ms), '1' where it is not on the journal or ''} · {'disarmed'} · {'fired'}
--         beat: {'tighter'} the time is shorter than the switch's · {'looser'} it is longer: the heartbeat counts
--         arm: {'moved'} the switch has this time, or a shorter one · {'full'}
--         {'applied'} · {'moved'} where another worker has applied events in the meantime
--         {'switch', time or '', document, '1' where it is not on the journal or '', '1' where it has fired or ''}
--         {'absent', account, …}
--         {'waiting', watermark, then each account}
--         {'expired', then account and time (ms) of each}
--         {'turns', then account, time (ms) and '1' where its account is locked or '' of each}
--         {'marked'}
-- A switch is its time and the document (journal event) that armed it, in one text.
local bad = stale()
if bad then return bad end
local what, account = ARGV[2], ARGV[3]

local function read_switch(name)
  local switch = redis.call('HGET', KEYS[2], name)
  if not switch then return nil end
  local time, document = string.match(switch, '^(%d+) (.*)$')
  return tonumber(time), document
end

local function write_switch(name, time, document)
  redis.call('HSET', KEYS[2], name, string.format('%.0f', time) .. ' ' .. document)
end

local function restart(name, time)
  local expiry = string.format('%.0f', now_ms() + time)
  redis.call('ZADD', KEYS[4], expiry, name)
  return expiry
end

local function has_fired(name)
  return redis.call('HEXISTS', KEYS[5], name) == 1
end

local function disarm(name)
  redis.call('HDEL', KEYS[2], name)
  redis.call('ZREM', KEYS[4], name)
  redis.call('HDEL', KEYS[5], name)
  redis.call('ZREM', KEYS[6], name)
end

local function apply(kind, name, time, document)
  local waiting = redis.call('HGET', KEYS[3], name)
  if waiting == document then
    redis.call('HDEL', KEYS[3], name)
  elseif waiting then
    -- It was armed again since: its own event is still to come.
  elseif kind == 'disarmed' then
    disarm(name)
  else
    local _, known = read_switch(name)
    if known ~= document then
      write_switch(name, time, document)
      if not has_fired(name) then restart(name, time) end
    end
  end
end

-- Until when no switch fires whose time is shorter than what has passed since: a gap in the sweeps ended then.
local function resumed_at(now, gap)
  local marks = redis.call('HMGET', KEYS[7], 'swept', 'resumed')
  local resumed = tonumber(marks[2] or '0')
  if not marks[1] or now - tonumber(marks[1]) > gap then resumed = now end
  redis.call('HSET', KEYS[7], 'swept', string.format('%.0f', now), 'resumed', string.format('%.0f', resumed))
  return resumed
end

local function expire(gap, most, turn)
  local answer = {'expired'}
  if redis.call('EXISTS', KEYS[4]) == 0 then return answer end
  local now = now_ms()
  local resumed = resumed_at(now, gap)
  local due = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', string.format('%.0f', now), 'LIMIT', 0, most)
  for _, name in ipairs(due) do
    local time = read_switch(name)
    if not time then
      redis.call('ZREM', KEYS[4], name)
    elseif now < resumed + time then
      redis.call('ZADD', KEYS[4], string.format('%.0f', resumed + time), name)
    else
      redis.call('ZREM', KEYS[4], name)
      redis.call('HSET', KEYS[5], name, '')
      redis.call('ZADD', KEYS[6], string.format('%.0f', now + turn), name)
      answer[#answer + 1] = name
      answer[#answer + 1] = string.format('%.0f', time)
    end
  end
  return answer
end

local function take_turns(turn, most)
  local answer, now = {'turns'}, now_ms()
  local due = redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', string.format('%.0f', now), 'LIMIT', 0, most)
  for _, name in ipairs(due) do
    local time = read_switch(name)
    if time then
      redis.call('ZADD', KEYS[6], string.format('%.0f', now + turn), name)
      answer[#answer + 1] = name
      answer[#answer + 1] = string.format('%.0f', time)
      answer[#answer + 1] = redis.call('HGET', KEYS[5], name) or ''
    else
      disarm(name)
    end
  end
  return answer
end

if what == 'beat' then
  if has_fired(account) then return {'fired'} end
  local time = read_switch(account)
  if not time then return {'disarmed'} end
  local expiry, asked = restart(account, time), tonumber(ARGV[4])
  if asked < time then return {'tighter'} end
  if asked > time then return {'looser'} end
  return {'armed', expiry, redis.call('HEXISTS', KEYS[3], account) == 1 and '1' or ''}
elseif what == 'arm' then
  if has_fired(account) then return {'fired'} end
  local time, asked = read_switch(account), tonumber(ARGV[4])
  if time and time <= asked then return {'moved'} end
  if not time and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[6]) then return {'full'} end
  write_switch(account, asked, ARGV[5])
  redis.call('HSET', KEYS[3], account, ARGV[5])
  return {'armed', restart(account, asked), '1'}
elseif what == 'apply' then
  if sum(KEYS[1], 'switch_sequence') ~= tonumber(ARGV[3]) then return {'moved'} end
  for at = 5, #ARGV, 4 do apply(ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]) end
  redis.call('HSET', KEYS[1], 'switch_sequence', ARGV[4])
  return {'applied'}
elseif what == 'find' then
  local time, document = read_switch(account)
  return {'switch', time and string.format('%.0f', time) or '', document or '',
    redis.call('HEXISTS', KEYS[3], account) == 1 and '1' or '', has_fired(account) and '1' or ''}
elseif what == 'absent' then
  local answer, known = {'absent'}, redis.call('HMGET', KEYS[2], unpack(ARGV, 3))
  for at = 1, #known do
    if not known[at] then answer[#answer + 1] = ARGV[at + 2] end
  end
  return answer
elseif what == 'waiting' then
  local answer = {'waiting', string.format('%.0f', sum(KEYS[1], 'switch_sequence'))}
  local listed = redis.call('HRANDFIELD', KEYS[3], ARGV[3])
  for at = 1, #listed do answer[#answer + 1] = listed[at] end
  return answer
elseif what == 'expire' then
  return expire(tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5]))
elseif what == 'turns' then
  return take_turns(tonumber(ARGV[3]), ARGV[4])
end
if has_fired(account) then
  redis.call('HSET', KEYS[5], account, '1')
  if ARGV[4] == '1' then redis.call('ZADD', KEYS[6], string.format('%.0f', now_ms()), account) end
end
return {'marked'}
