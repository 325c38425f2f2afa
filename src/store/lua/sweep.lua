-- Takes the turn to look at some of the accounts that hold something, one worker at a time, each where the one before
-- ended.
--
-- KEYS  1 meta, 2 accounts that hold something, 3 the turn, 4 where the next turn begins
-- ARGV  1 epoch, 2 how long a turn is another's (ms), 3 about how many accounts, 4 how long a turn that reads all of them is
--       another's (ms)
-- Returns {'not'} the turn is another's · {'yours', key of each account's ledger, …}
local bad = stale()
if bad then return bad end
local held = redis.call('SCARD', KEYS[2])
if held == 0 then return {'not'} end
local pause = held <= tonumber(ARGV[3]) and ARGV[4] or ARGV[2]
if not redis.call('SET', KEYS[3], '1', 'NX', 'PX', pause) then return {'not'} end
local found = redis.call('SSCAN', KEYS[2], redis.call('GET', KEYS[4]) or '0', 'COUNT', ARGV[3])
redis.call('SET', KEYS[4], found[1])
return {'yours', unpack(found[2])}
