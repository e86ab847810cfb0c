-- Keep together what has one placement key: on the shard of whoever asks first.
-- KEYS[1]  the key's entry
-- ARGV[1]  shard to put it on, where it has none
-- ARGV[2]  how long it is remembered from now on, in milliseconds
-- Returns the shard that it is on.
local shard = redis.call('GET', KEYS[1])
-- What somebody else has written there is no shard, and must not become one.
if not shard or #shard ~= 5 or not string.match(shard, '^[a-z2-7]+$') then shard = ARGV[1] end
redis.call('SET', KEYS[1], shard, 'PX', ARGV[2])
return shard
