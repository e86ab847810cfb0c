-- Forget calls of a session: they ended, and their client has the answer.
-- KEYS[1]  the session
-- KEYS[2]  its calls: see redis_journal.py
-- ARGV[1]  epoch of the writer
-- ARGV[2]… streams
-- Returns 1; 0 where there is no record; -1 where it is of a later epoch, or was removed at this one.
local written = fence(KEYS[1], ARGV[1])
if written ~= DONE then return written end
for n = 2, #ARGV do
  redis.call('HDEL', KEYS[2], 'c' .. ARGV[n], 'b' .. ARGV[n], 'o' .. ARGV[n])
end
return DONE
