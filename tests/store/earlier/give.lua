-- Hand a shard from its owner to a peer.
-- KEYS[1]  nodes
-- KEYS[2]  shards
-- ARGV[1]  shard
-- ARGV[2]  node id of the giver
-- ARGV[3]  epoch that the giver holds it at
-- ARGV[4]  node id of the receiver
-- Returns '<epoch> <node id>' of the owner after the call, or '' where it has none.
local current = redis.call('HGET', KEYS[2], ARGV[1])
local epoch, owner = read_owner(current)
if not epoch then return '' end
if owner ~= ARGV[2] or epoch ~= tonumber(ARGV[3]) or owner == ARGV[4] then return current end
local now = now_ms()
for _, node in ipairs({owner, ARGV[4]}) do
  if not is_proven(redis.call('HGET', KEYS[1], node), now) then return current end
end
return own(KEYS[2], ARGV[1], epoch + 1, ARGV[4])
