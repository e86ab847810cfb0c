-- Remove a session's record and all that hangs on it, and leave a mark that it was removed.
-- KEYS[1]  the session
-- KEYS[2]… what hangs on it
-- ARGV[1]  epoch of the writer
-- ARGV[2]  how long the mark stays, seconds
-- Returns 1; 0 where there was no record; -1 where it is of a later epoch.
local what, epoch = read_record(KEYS[1])
local mine = tonumber(ARGV[1])
if what == 'record' and mine < epoch then return REFUSED end
if what == 'removed' and mine <= epoch then return MISSING end
redis.call('DEL', unpack(KEYS))
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'removed', '1')
redis.call('EXPIRE', KEYS[1], ARGV[2])
return what == 'record' and DONE or MISSING
