-- Forget nodes whose lease was over long ago, and retire the shards that they still own.
-- KEYS[1]  nodes
-- KEYS[2]  shards
-- ARGV[1]  how long ago, milliseconds
-- Returns how many nodes were forgotten. An entry that does not read is left alone.
local now = now_ms()
local forgotten, count = {}, 0
local nodes = redis.call('HGETALL', KEYS[1])
for i = 1, #nodes, 2 do
  local ends, renewed = read_lease(nodes[i + 1])
  if ends and ends <= now and now - renewed > tonumber(ARGV[1]) then
    forgotten[nodes[i]] = true
    count = count + 1
    redis.call('HDEL', KEYS[1], nodes[i])
  end
end
if count == 0 then return 0 end
local shards, retired = redis.call('HGETALL', KEYS[2]), false
for i = 1, #shards, 2 do
  local _, owner = read_owner(shards[i + 1])
  if owner and forgotten[owner] then
    redis.call('HDEL', KEYS[2], shards[i])
    retired = true
  end
end
if retired then count_change(KEYS[2]) end
return count
