-- What the scripts share: it is put in front of each of them.
-- How a node and an owner are written: see `mooring.store.codec`. What does not read gives nil, and is left alone.

-- Now, in ms since the epoch, by the one clock that leases are measured with.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- '<ends, ms> <renewed, ms> <what the node says of itself, JSON>', for HSET.
local function lease_text(ends, renewed, said)
  return string.format('%.0f %.0f %s', ends, renewed, said)
end

-- When a node's lease ends, when it was renewed, and what the node says; nil where there is no lease that reads.
local function read_lease(entry)
  local ends, renewed, said = string.match(entry or '', '^(%d+) (%d+) (.*)$')
  if not ends or #ends > 16 or #renewed > 16 then return nil end
  return tonumber(ends), tonumber(renewed), said
end

-- What stands for a node whose entry was lost: see adopt.lua. It proves nothing of that node.
local PLACEHOLDER = '{}'

-- Whether a node said goodbye, or was seen to end. No JSON makes this fail.
local function is_gone(said)
  local reads, node = pcall(cjson.decode, said)
  return reads and type(node) == 'table' and node.state == 'gone'
end

-- Whether a node's lease is alive.
local function is_alive(entry, now)
  local ends, _, said = read_lease(entry)
  return ends ~= nil and ends > now and not is_gone(said)
end

-- Whether a node renewed its lease itself, and it is alive.
local function is_proven(entry, now)
  local _, _, said = read_lease(entry)
  return is_alive(entry, now) and said ~= PLACEHOLDER
end

-- A shard's epoch and owner; nil where it has none that reads.
local function read_owner(entry)
  local epoch, owner = string.match(entry or '', '^(%d+) (.+)$')
  if not epoch or #epoch > 16 then return nil end
  return tonumber(epoch), owner
end

-- How often the shards were changed, as text; '0' where there never were any. See `Snapshot.version`.
local function version_of(shards)
  return string.match(redis.call('HGET', shards, '#version') or '', '^%d+$') or '0'
end

-- Counts one more change. The count starts anew with the key, from the time.
local function count_change(shards)
  if version_of(shards) == '0' then
    redis.call('HSET', shards, '#version', redis.call('TIME')[1] .. '000000')
  end
  redis.call('HINCRBY', shards, '#version', 1)
end

-- Gives a shard an owner; returns '<epoch> <node id>'.
local function own(shards, shard, epoch, owner)
  local text = string.format('%.0f %s', epoch, owner)
  redis.call('HSET', shards, shard, text)
  count_change(shards)
  return text
end

-- A session's record: 'record', 'removed' or 'none', and its epoch. A key of another kind is no record.
local function read_record(key)
  local fields = redis.pcall('HMGET', key, 'epoch', 'removed', 'created')
  if fields.err then return 'none', 0 end
  local epoch = string.match(fields[1] or '', '^%d+$')
  if not epoch or #epoch > 16 then epoch = '0' end
  if fields[2] then return 'removed', tonumber(epoch) end
  return fields[3] and 'record' or 'none', tonumber(epoch)
end

-- What became of a write: `mooring.core.model.Written`.
local DONE, MISSING, REFUSED = 1, 0, -1

