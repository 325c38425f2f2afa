#!lua flags=allow-oom
-- Raises a whole number, and never lowers it.
--
-- KEYS  1 the count of a window, until when a kind of request is closed (µs), or up to when trades are settled (µs)
-- ARGV  1 the number, at most 2^53, 2 how long it is kept (ms), 3 `known` to set it only where there is one
-- Returns {'raised'} · {'kept'} where the number was as high already
-- Run by EVAL and without an epoch: these keys are no part of what the journal rebuilds.
local known = redis.call('GET', KEYS[1])
if known and tonumber(known) >= tonumber(ARGV[1]) or not known and ARGV[3] == 'known' then return {'kept'} end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {'raised'}
