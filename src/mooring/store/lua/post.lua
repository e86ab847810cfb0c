-- Put frames into a node's mailbox, in their order, as many as there is room for.
-- KEYS[1]  the mailbox
-- ARGV[1]  how many frames it may hold
-- ARGV[2]… frames
-- Returns the entries that they have become; nil where the node has no mailbox: nobody reads there.
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local room = tonumber(ARGV[1]) - redis.call('XLEN', KEYS[1])
local entries = {}
for n = 2, 1 + math.min(room, #ARGV - 1) do
  entries[#entries + 1] = redis.call('XADD', KEYS[1], '*', 'f', ARGV[n])
end
return entries
