-- Read what the log of a session has of one stream.
-- KEYS[1]  the log: see redis_journal.py
-- ARGV[1]  stream
-- Returns {epoch, number, data, …}, in the order in which it was added.
local found = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
  local fields = entry[2]
  if fields[1] == 's' and fields[2] == ARGV[1] and #fields == 10 then
    for _, n in ipairs({4, 6, 10}) do found[#found + 1] = fields[n] end
  end
end
return found
