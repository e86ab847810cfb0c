-- End a node's lease now, at its own goodbye.
-- KEYS[1]  nodes
-- KEYS[2]  shards
-- ARGV[1]  node id
-- ARGV[2]  what the node says of itself, JSON
redis.call('HSET', KEYS[1], ARGV[1], lease_text(0, now_ms(), ARGV[2]))
