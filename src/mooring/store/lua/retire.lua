-- Leave a shard without an owner.
-- KEYS     as in changes.lua
-- ARGV[1]  shard
-- ARGV[2]  node id of its owner
-- ARGV[3]  epoch that the owner holds it at
-- Returns '<epoch> <node id>' of the owner after the call, or '' where it has none.
local current = redis.call('HGET', SHARDS, ARGV[1])
local epoch, owner = read_owner(current)
if not epoch then return '' end
if owner ~= ARGV[2] or epoch ~= tonumber(ARGV[3]) then return current end
local now = now_ms()
open_index(now)
retire(ARGV[1], now)
count_change()
return ''
