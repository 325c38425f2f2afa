-- Returns what is known of an order.
--
-- KEYS  1 meta, 2 order record · ARGV  1 epoch, 2 name
-- Returns {'missing'}, {'remembered', entry} of an order that has ended, or {'found', stage, hash, order id, version,
--         journaled version, journal sequence, lease token, document, then version and document of each event that is not on
--         the journal, in order}
local bad = stale()
if bad then return bad end
local known = redis.call('HMGET', KEYS[2], 'st', 'h', 'o', 'v', 'jv', 'seq', 'tok', 'doc')
if not known[1] then
  local entry = recall(ARGV[2])
  return entry and {'remembered', entry} or {'missing'}
end
local answer = {
  'found', known[1], known[2], known[3], known[4], known[5], known[6] or '0', known[7] or '', known[8] or '',
}
return pending(answer, KEYS[2], tonumber(known[5]), tonumber(known[4]), known[8])
