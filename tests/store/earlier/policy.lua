-- Say what Redis drops when its memory is short.
-- KEYS[1]  nodes
-- KEYS[2]  shards
-- Returns its maxmemory-policy, or '' where it has no limit and so drops nothing.
local memory = redis.call('INFO', 'memory')
if string.match(memory, 'maxmemory:(%d+)') == '0' then return '' end
return string.match(memory, 'maxmemory_policy:([%w-]+)') or ''
