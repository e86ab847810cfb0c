-- Leave a word of the operator's for a node.
-- KEYS[1]  orders  node id -> the word; all of them are kept for as long as the last one
-- ARGV[1]  node id
-- ARGV[2]  the word
-- ARGV[3]  how long it is kept, milliseconds
-- Returns 1.
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
