-- Take over a shard whose owner is dead.
-- KEYS     as in changes.lua
-- ARGV[1]  shard
-- ARGV[2]  node id of the adopter
-- ARGV[3]  epoch that the shard is expected to stand at
-- Returns '<epoch> <node id>' of the owner after the call, or '' where it has none.
-- An owner without an entry is not dead: it is given a lease as long as the adopter's, and nothing else. One whose entry
-- has no lease that reads is left alone: it may be of a version that writes leases otherwise. After a silence of all
-- (`note_silence`) only an owner whose end is on record is dead.
local current = redis.call('HGET', SHARDS, ARGV[1])
local epoch, owner = read_owner(current)
if not epoch then return '' end
local now = now_ms()
open_index(now)
local adopter = redis.call('HGET', NODES, ARGV[2])
if epoch ~= tonumber(ARGV[3]) or owner == ARGV[2] or not is_proven(adopter, now) then return current end
local entry = redis.call('HGET', NODES, owner)
if not entry then
  local ends, renewed = read_lease(adopter)
  write_node(owner, now + ends - renewed, now, PLACEHOLDER, now)
  return current
end
local ends, _, said = read_lease(entry)
if not ends or is_alive(entry, now) then return current end
local has_grace = now < tonumber(redis.call('HGET', TOLD, '#grace') or 0)
if has_grace and ends ~= 0 and not is_gone(said) then return current end
return own(ARGV[1], epoch + 1, ARGV[2])
