-- Renew a session's record, if there is one.
-- KEYS[1]  the session
-- ARGV[1]  last seen, seconds since the epoch
-- ARGV[2]  time to live, seconds
-- Returns 1, or 0 where there is no record.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], 'last_seen', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
