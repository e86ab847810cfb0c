-- End a node's lease now, at its own goodbye.
-- KEYS     as in changes.lua
-- ARGV[1]  node id
-- ARGV[2]  what the node says of itself, JSON
local now = now_ms()
open_index(now)
write_node(ARGV[1], 0, now, ARGV[2], now)
