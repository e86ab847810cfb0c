-- End a node's lease now, for it was seen to end.
-- KEYS     as in changes.lua
-- ARGV[1]  node id
-- Returns 1, or 0 where there is no such node with a lease that reads.
local ends, _, said = read_lease(redis.call('HGET', NODES, ARGV[1]))
if not ends then return 0 end
if ends == 0 then return 1 end
local now = now_ms()
open_index(now)
write_node(ARGV[1], 0, now, said, now)
return 1
