-- Forget the operator's word for a node, which has heard it, unless another one was left since.
-- KEYS[1]  orders  as in order.lua
-- ARGV[1]  node id
-- ARGV[2]  the word
-- Returns 1.
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 1
