-- Stands before every script. KEYS[1] is always `meta`, ARGV[1] always the epoch the caller knows.
local MAX_EXACT = 9007199254740991

-- The answer to a caller whose epoch is not the store's, or nil.
local function stale()
  local epoch = redis.call('HGET', KEYS[1], 'epoch')
  if epoch ~= ARGV[1] then
    return {'stale', epoch or ''}
  end
end

-- Milliseconds since 1970 by Redis' clock, which judges leases and deadlines.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function sum(key, field)
  return tonumber(redis.call('HGET', key, field) or '0')
end

-- Whether every move {key index, field, delta, only where the key exists} leaves its sum exact. Nothing is written.
local function moves_fit(moves)
  for _, move in ipairs(moves) do
    if math.abs(sum(KEYS[move[1]], move[2]) + move[3]) > MAX_EXACT then
      return false
    end
  end
  return true
end

-- Adds an order to a set of open orders, or takes it out; `all` holds the keys of the sets that are not empty.
local function enter_open(set, name, all)
  redis.call('SADD', set, name)
  redis.call('SADD', all, set)
end

local function leave_open(set, name, all)
  redis.call('SREM', set, name)
  if redis.call('EXISTS', set) == 0 then redis.call('SREM', all, set) end
end

local function move_sums(moves, day_ttl_ms)
  for _, move in ipairs(moves) do
    local key = KEYS[move[1]]
    local daily = move[4]
    if not daily or move[3] > 0 or redis.call('EXISTS', key) == 1 then
      redis.call('HINCRBY', key, move[2], string.format('%.0f', move[3]))
      if daily and redis.call('PTTL', key) < 0 then
        redis.call('PEXPIRE', key, day_ttl_ms)
      end
    end
  end
end

-- Gives back what an order holds that is being sent, by the record's own word: {key, field, delta, daily}.
local function undo_reserved(record)
  local net = redis.call('HGET', record, 'net')
  for _, move in ipairs(net and cjson.decode(net) or {}) do
    if not move[4] or redis.call('EXISTS', move[1]) == 1 then
      redis.call('HINCRBY', move[1], move[2], string.format('%.0f', -move[3]))
    end
  end
end

-- The id of the settlement that made a version of an order that is not on the journal yet, or nil.
local function settlement_of(record, version, latest)
  if version == latest then return redis.call('HGET', record, 'sid') or nil end
  local doc = redis.call('HGET', record, 'p:' .. version)
  local settlement = doc and cjson.decode(doc).settlement
  return settlement and settlement.id
end
