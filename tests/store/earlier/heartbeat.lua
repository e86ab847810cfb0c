-- Renew a node's lease and say what the store knows.
-- KEYS[1]  nodes
-- KEYS[2]  shards
-- ARGV[1]  node id
-- ARGV[2]  lease, milliseconds
-- ARGV[3]  what the node says of itself, JSON
-- ARGV[4]  when the caller last renewed, milliseconds
-- ARGV[5]  the version of the shards that the caller knows
-- Returns {} where this node is not known, or not as it was at its last renewal (the store was emptied or went back), or
--         its end is on record,
--         else {now in ms, version, nodes, shards}; shards are empty where the caller knows that version.
local ends, renewed, said = read_lease(redis.call('HGET', KEYS[1], ARGV[1]))
if not ends or ends == 0 or said == PLACEHOLDER or renewed ~= tonumber(ARGV[4]) then return {} end
local now = now_ms()
redis.call('HSET', KEYS[1], ARGV[1], lease_text(now + tonumber(ARGV[2]), now, ARGV[3]))
local version = version_of(KEYS[2])
local shards = {}
if version ~= ARGV[5] then shards = redis.call('HGETALL', KEYS[2]) end
return {string.format('%.0f', now), version, redis.call('HGETALL', KEYS[1]), shards}
