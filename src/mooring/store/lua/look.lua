-- Say what changed, at one moment, for a node between two heartbeats.
-- KEYS     as in changes.lua
-- ARGV[1]  node id
-- ARGV[2]  when the caller last renewed, milliseconds
-- ARGV[3]  the mark that the caller got with that renewal
-- Returns as `answer` in changes.lua: everything where the node is not as it was at that renewal, since then the store
--         was emptied, or went back to a time before that mark.
local now = now_ms()
open_index(now, true)
local _, renewed = read_lease(redis.call('HGET', NODES, ARGV[1]))
return answer(renewed == tonumber(ARGV[2]) and ARGV[3] or '', now)
