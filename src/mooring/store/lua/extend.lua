-- Lengthen the lease of a node that is too busy to renew it. It stays the same renewal: only its end moves.
-- KEYS     as in changes.lua
-- ARGV[1]  node id
-- ARGV[2]  when the node last renewed, as far as it knows, milliseconds
-- ARGV[3]  lease, milliseconds
-- Returns 1, or 0 where its last renewal was before that (the store went back), or its lease is over: then somebody may
--         count on its end. A later one is its own: its loop fell silent before it had read the answer.
local entry = redis.call('HGET', NODES, ARGV[1])
local ends, renewed, said = read_lease(entry)
local now = now_ms()
if not is_alive(entry, now) or renewed < tonumber(ARGV[2]) then return 0 end
open_index(now)
write_node(ARGV[1], math.max(ends, now + tonumber(ARGV[3])), renewed, said, now)
return 1
