-- Write a node with a fresh lease, whether or not it was known.
-- KEYS     as in changes.lua
-- ARGV[1]  node id
-- ARGV[2]  lease, milliseconds
-- ARGV[3]  what the node says of itself, JSON
-- Returns the time of this renewal in ms, or '' where the node's end is on record.
if read_lease(redis.call('HGET', NODES, ARGV[1])) == 0 then return '' end
local now = now_ms()
open_index(now)
note_silence(now, tonumber(ARGV[2]))
write_node(ARGV[1], now + tonumber(ARGV[2]), now, ARGV[3], now)
return string.format('%.0f', now)
