-- Write what goes along with a session that is about to be given away, or remove it.
-- KEYS[1]  the session
-- KEYS[2]  what goes along
-- ARGV[1]  epoch of the writer
-- ARGV[2]  how long it is kept, seconds
-- ARGV[3]  what it is; '' removes it
-- Returns 1; 0 where there is no record; -1 where it is of a later epoch, or was removed at this one.
local written = fence(KEYS[1], ARGV[1])
if written ~= DONE then return written end
if ARGV[3] == '' then
  redis.call('DEL', KEYS[2])
else
  redis.call('SET', KEYS[2], ARGV[3], 'EX', ARGV[2])
end
return DONE
