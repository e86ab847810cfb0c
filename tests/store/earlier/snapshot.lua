-- Say what the store knows, at one moment.
-- KEYS[1]  nodes
-- KEYS[2]  shards
-- Returns {now in ms, version, nodes, shards}.
local now = now_ms()
local version = version_of(KEYS[2])
return {string.format('%.0f', now), version, redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}
