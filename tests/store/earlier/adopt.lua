-- Take over a shard whose owner is dead.
-- KEYS[1]  nodes
-- KEYS[2]  shards
-- ARGV[1]  shard
-- ARGV[2]  node id of the adopter
-- ARGV[3]  epoch that the shard is expected to stand at
-- Returns '<epoch> <node id>' of the owner after the call, or '' where it has none.
-- An owner without an entry is not dead: it is given a lease as long as the adopter's, and nothing else. One whose entry
-- has no lease that reads is left alone: it may be of a version that writes leases otherwise.
local current = redis.call('HGET', KEYS[2], ARGV[1])
local epoch, owner = read_owner(current)
if not epoch then return '' end
local now = now_ms()
local adopter = redis.call('HGET', KEYS[1], ARGV[2])
if epoch ~= tonumber(ARGV[3]) or owner == ARGV[2] or not is_proven(adopter, now) then return current end
local entry = redis.call('HGET', KEYS[1], owner)
if not entry then
  local ends, renewed = read_lease(adopter)
  redis.call('HSET', KEYS[1], owner, lease_text(now + ends - renewed, now, PLACEHOLDER))
  return current
end
if not read_lease(entry) or is_alive(entry, now) then return current end
return own(KEYS[2], ARGV[1], epoch + 1, ARGV[2])
