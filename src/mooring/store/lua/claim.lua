-- Compare and set the owner of a shard.
-- KEYS[1]  shards
-- ARGV[1]  shard
-- ARGV[2]  node id of the claimant
-- ARGV[3]  epoch that the claim would set
-- ARGV[4]  epoch that the shard is expected to stand at; 0: it has no owner
-- Returns '<epoch> <node id>' of the owner after the call.
-- The claimant's own shard stays its own and takes the higher of the two epochs.
local current = redis.call('HGET', KEYS[1], ARGV[1])
local epoch, owner = 0, ''
if current then
  local space = string.find(current, ' ', 1, true)
  epoch, owner = tonumber(string.sub(current, 1, space - 1)), string.sub(current, space + 1)
end
local wanted = tonumber(ARGV[3])
local claimed = string.format('%.0f %s', wanted, ARGV[2])
if owner == ARGV[2] then
  if wanted <= epoch then return current end
elseif epoch ~= tonumber(ARGV[4]) then
  return current
end
redis.call('HSET', KEYS[1], ARGV[1], claimed)
-- The count of changes starts anew with the key, from the time: see `Snapshot.version`.
if redis.call('HEXISTS', KEYS[1], '#version') == 0 then
  redis.call('HSET', KEYS[1], '#version', redis.call('TIME')[1] .. '000000')
end
redis.call('HINCRBY', KEYS[1], '#version', 1)
return claimed
