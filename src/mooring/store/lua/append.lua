-- Add to the log of a session's streams.
-- KEYS[1]  the session
-- KEYS[2]  its log: see redis_journal.py
-- ARGV[1]  epoch of the writer
-- ARGV[2]  how long the log is kept after this, milliseconds
-- ARGV[3]  about how many entries it keeps
-- ARGV[4]  how many bytes of data it keeps
-- ARGV[5]… of each entry: stream, epoch, number, data
-- Returns 1; 0 where there is no record; -1 where it is of a later epoch, or was removed at this one.
local written = fence(KEYS[1], ARGV[1])
if written ~= DONE or #ARGV == 4 then return written end
-- The bytes added before an entry at one end of the log, and its own; 0 where there is none that reads.
local function total_at(command, from, to)
  local entry = redis.call(command, KEYS[2], from, to, 'COUNT', 1)[1]
  local total = entry and tonumber(entry[2][8] or nil)
  if not total then return 0, 0 end
  return total, #entry[2][10]
end
local before, size = total_at('XREVRANGE', '+', '-')
local total = before + size
for n = 5, #ARGV, 4 do
  redis.call(
    'XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*',
    's', ARGV[n], 'e', ARGV[n + 1], 'n', ARGV[n + 2], 't', string.format('%.0f', total), 'd', ARGV[n + 3]
  )
  total = total + #ARGV[n + 3]
end
redis.call('XTRIM', KEYS[2], 'MINID', '~', string.format('%.0f', math.max(0, now_ms() - ARGV[2])))
local length = redis.call('XLEN', KEYS[2])
while length > 1 and total - total_at('XRANGE', '-', '+') > tonumber(ARGV[4]) do
  length = length - math.ceil(length / 16)
  redis.call('XTRIM', KEYS[2], 'MAXLEN', length)
end
keep(KEYS[2], ARGV[2])
return DONE
