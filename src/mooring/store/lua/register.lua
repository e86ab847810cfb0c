-- Write a node with a fresh lease, whether or not it was known.
-- KEYS[1]  nodes
-- ARGV[1]  node id
-- ARGV[2]  lease, milliseconds; 0 ends it now
-- ARGV[3]  what the node says of itself, JSON
-- Returns the time of this renewal in ms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = tonumber(ARGV[2])
local ends = 0
if lease > 0 then ends = now + lease end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %.0f %s', ends, now, ARGV[3]))
return string.format('%.0f', now)
