-- Renew a session's record, if there is one.
-- KEYS[1]  the session
-- KEYS[2]  its state, which lives as long
-- ARGV[1]  epoch of the writer
-- ARGV[2]  last seen, seconds since the epoch
-- ARGV[3]  time to live, seconds
-- Returns 1; 0 where there is no record; -1 where it is of a later epoch, or was removed at this one.
local what, epoch = read_record(KEYS[1])
local mine = tonumber(ARGV[1])
if what == 'removed' and mine <= epoch or what == 'record' and mine < epoch then return REFUSED end
if what ~= 'record' then return MISSING end
redis.call('HSET', KEYS[1], 'last_seen', ARGV[2], 'epoch', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
return DONE
