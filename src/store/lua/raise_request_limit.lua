#!lua flags=allow-oom
-- Raises a whole number to what the venue has reported, and never lowers it.
--
-- KEYS  1 the count of a window, or until when a kind of request is closed (µs)
-- ARGV  1 the reported number, at most 2^53, 2 how long it is kept (ms)
-- Returns {'raised'} · {'kept'} where the number was as high already
-- Run by EVAL and without an epoch: these keys are no part of what the journal rebuilds.
local known = redis.call('GET', KEYS[1])
if known and tonumber(known) >= tonumber(ARGV[1]) then return {'kept'} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'raised'}
