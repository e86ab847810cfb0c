-- Forget nodes whose lease was over long ago, and retire the shards that they still own.
-- KEYS     as in changes.lua
-- ARGV[1]  how long ago, milliseconds
-- Returns how many nodes were forgotten. An entry that does not read is left alone.
local now = now_ms()
open_index(now)
notice_ends(now)
local forgotten, count = {}, 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', ENDS, '-inf', 0)) do
  local ends, renewed = read_lease(redis.call('HGET', NODES, id))
  if ends and ends <= now and now - renewed > tonumber(ARGV[1]) then
    forgotten[id] = true
    count = count + 1
    redis.call('HDEL', NODES, id)
    forget_node(id, now)
  end
end
if count == 0 then return 0 end
local shards, retired = redis.call('HGETALL', SHARDS), false
for i = 1, #shards, 2 do
  local _, owner = read_owner(shards[i + 1])
  if owner and forgotten[owner] then
    retire(shards[i], now)
    retired = true
  end
end
if retired then count_change() end
return count
