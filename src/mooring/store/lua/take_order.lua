-- Read the operator's word for a node, once.
-- KEYS[1]  orders  as in order.lua
-- ARGV[1]  node id
-- Returns the word, or '' where there is none.
local word = redis.call('HGET', KEYS[1], ARGV[1])
if not word then return '' end
redis.call('HDEL', KEYS[1], ARGV[1])
return word
