-- Returns a page of a set: of open orders, or of the keys of those sets. A member that is in the set from the first page to
-- the last is on one of the pages; it may be on two.
--
-- KEYS  1 meta, 2 the set · ARGV  1 epoch, 2 cursor of the page, '0' for the first, 3 about how many members
-- Returns {'page', cursor of the next page, '0' after the last, member, …}
local bad = stale()
if bad then return bad end
local page = redis.call('SSCAN', KEYS[2], ARGV[2], 'COUNT', ARGV[3])
return {'page', page[1], unpack(page[2])}
