-- End a node's lease now, for it was seen to end.
-- KEYS[1]  nodes
-- KEYS[2]  shards
-- ARGV[1]  node id
-- Returns 1, or 0 where there is no such node with a lease that reads.
local ends, _, said = read_lease(redis.call('HGET', KEYS[1], ARGV[1]))
if not ends then return 0 end
if ends == 0 then return 1 end
redis.call('HSET', KEYS[1], ARGV[1], lease_text(0, now_ms(), said))
return 1
