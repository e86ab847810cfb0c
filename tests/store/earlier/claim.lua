-- Own a shard that nobody has, or write one's own anew.
-- KEYS[1]  nodes
-- KEYS[2]  shards
-- ARGV[1]  shard
-- ARGV[2]  node id of the claimant
-- ARGV[3]  epoch that the claim would set
-- ARGV[4]  epoch that the shard is expected to stand at; 0: it has no owner
-- Returns '<epoch> <node id>' of the owner after the call, or '' where it has none.
-- The claimant's own shard takes the higher of the two epochs; another node's is taken only where it stands at a lower
-- epoch than the one that is claimed: it is from before the claimant had it.
local current = redis.call('HGET', KEYS[2], ARGV[1])
local epoch, owner = read_owner(current)
local wanted, expected = tonumber(ARGV[3]), tonumber(ARGV[4])
if not epoch then
  if expected ~= 0 or wanted < 1 then return '' end
elseif wanted <= epoch or (owner ~= ARGV[2] and epoch ~= expected) then
  return current
end
return own(KEYS[2], ARGV[1], wanted, ARGV[2])
