-- Renew a node's lease and say what changed since.
-- KEYS     as in changes.lua
-- ARGV[1]  node id
-- ARGV[2]  lease, milliseconds
-- ARGV[3]  what the node says of itself, JSON; '' where that is what it said last
-- ARGV[4]  when the caller last renewed, milliseconds
-- ARGV[5]  the mark that the caller got with that renewal
-- Returns {} where this node is not known, or not as it was at its last renewal (the store was emptied or went back), or
--         its end is on record; else as `answer` in changes.lua.
local ends, renewed, said = read_lease(redis.call('HGET', NODES, ARGV[1]))
if not ends or ends == 0 or said == PLACEHOLDER or renewed ~= tonumber(ARGV[4]) then return {} end
local now = now_ms()
open_index(now)
note_silence(now, tonumber(ARGV[2]))
local later, says = now + tonumber(ARGV[2]), ARGV[3] == '' and said or ARGV[3]
if says == said and (score_of_node(ARGV[1]) or 0) > 0 then
  redis.call('HSET', NODES, ARGV[1], lease_text(later, now, said))
  redis.call('ZADD', ENDS, string.format('%.0f', later), ARGV[1])
else
  write_node(ARGV[1], later, now, says, now)
end
notice_ends(now)
return answer(ARGV[5], now)
