-- Write a node with a fresh lease, whether or not it was known.
-- KEYS[1]  nodes
-- KEYS[2]  shards
-- ARGV[1]  node id
-- ARGV[2]  lease, milliseconds
-- ARGV[3]  what the node says of itself, JSON
-- Returns the time of this renewal in ms, or '' where the node's end is on record.
if read_lease(redis.call('HGET', KEYS[1], ARGV[1])) == 0 then return '' end
local now = now_ms()
redis.call('HSET', KEYS[1], ARGV[1], lease_text(now + tonumber(ARGV[2]), now, ARGV[3]))
return string.format('%.0f', now)
