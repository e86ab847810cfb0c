-- Say what the store knows, at one moment.
-- KEYS[1]  nodes
-- KEYS[2]  shards
-- Returns {now in ms, version, nodes, shards}.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local version = redis.call('HGET', KEYS[2], '#version') or '0'
return {string.format('%.0f', now), version, redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}
