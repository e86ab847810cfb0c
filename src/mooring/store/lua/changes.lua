-- What changed in nodes and shards, in order: so that a heartbeat need carry nothing else. It is put in front of each
-- script on them, behind shared.lua; each calls `open_index` before it writes anything.
-- KEYS[1]  nodes    node id -> lease, and what the node says    } the truth, and all that nodes of earlier releases know:
-- KEYS[2]  shards   shard -> epoch, owner; '#version'           } they write here, and nowhere else
-- KEYS[3]  told     'n' and node id -> '<sessions> <gist>', as nodes were last told. '#life': which index this is.
--                   '#last': the number of the last change. '#floor', '#all_shards': who knows less than that is told
--                   everything, or all shards. '#shards': the '#version' of the shards. '#next': when to reconcile.
--                   '#grace': until when nobody adopts, ms.
-- KEYS[4]  changes  'n' and node id, 's' and shard -> number of its last change
-- KEYS[5]  ends     node id -> when its lease ends, ms; less than 0: nodes were told that it is over; 0: for good.
--                   Half a millisecond less where an earlier release wrote the lease (a stranger)
-- KEYS[6]  removed  what is no longer there, as in changes -> since when, ms
-- A renewal moves an end, and is no change. An end is: it becomes one in the first script after it.
local NODES, SHARDS, TOLD, CHANGES, ENDS, REMOVED = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

-- How long a removal is told of, ms: whoever has not asked for that long is told everything.
local REMEMBERED = 600000
-- How often all nodes are read for what was written past the index, ms: seldom, and often while there are strangers.
local SELDOM, OFTEN = 10000, 1000
-- The score of an entry without a lease that reads. No end has it.
local UNREADABLE = -0.25

-- '#life', '#last', '#floor' and '#all_shards', once the index is open; and whether it has everything at this moment.
local index = {}

-- How often the shards were changed, as text; '0' where there never were any. See `Snapshot.version`.
local function version_of(shards)
  return string.match(redis.call('HGET', shards, '#version') or '', '^%d+$') or '0'
end

-- Gives a change its number.
local function change(member)
  index.last = redis.call('HINCRBY', TOLD, '#last', 1)
  redis.call('ZADD', CHANGES, index.last, member)
end

-- Where no lease lives, and one has ended without a goodbye, the store may have been away from all: for a lease's time
-- nobody adopts, so that whoever lives can renew first. Called before the renewal that ends such a silence.
local function note_silence(now, lease)
  if redis.call('ZCOUNT', ENDS, string.format('(%.0f', now), '+inf') > 0 then return end
  if redis.call('ZCOUNT', ENDS, '-inf', -1) + redis.call('ZCOUNT', ENDS, 1, string.format('%.0f', now)) > 0 then
    redis.call('HSET', TOLD, '#grace', string.format('%.0f', now + lease))
  end
end

-- What is left of a node's words without its counts, which change all the time; and how full it is.
local function gist_of(said)
  local gist = string.gsub(said, '"sessions":%d+', '', 1)
  gist = string.gsub(gist, ',"counters":%b{}', '', 1)
  local capacity = tonumber(string.match(said, '"capacity":(%d+)')) or 1
  return gist, tonumber(string.match(said, '"sessions":(%d+)')) or 0, capacity
end

-- Whether peers have to hear of so many sessions: it is full now, or not any more, or it has more than ten and a quarter
-- more or fewer, or a fiftieth of its capacity. What peers make of that is in `mooring.core.balance`.
local function has_moved(before, sessions, capacity)
  local by = math.abs(sessions - before)
  if (before < capacity) ~= (sessions < capacity) or by * 50 > capacity then return true end
  return by > 10 and by * 4 > math.max(before, sessions)
end

local function score_of(ends, now, is_strange)
  if not ends then return UNREADABLE end
  if ends == 0 then return 0 end
  local score = is_strange and ends - 0.5 or ends
  return ends > now and score or -score
end

-- Whether an entry with this end was written as the index knows it.
local function is_indexed(score, ends)
  if not score or not ends or score == UNREADABLE then return score == UNREADABLE and not ends end
  return math.ceil(math.abs(score)) == ends
end

local function is_stranger(score, ends)
  return ends ~= nil and ends > 0 and (not is_indexed(score, ends) or score ~= math.floor(score))
end

-- What a reader makes of a node with this score.
local function kind_of(score)
  if not score or score == UNREADABLE then return 'absent' end
  return score > 0 and 'alive' or score < 0 and 'over' or 'ended'
end

-- Takes notice of a node's entry: it is a change where others have to hear of it.
local function notice(id, entry, score, now, is_strange)
  local ends, _, said = read_lease(entry)
  local after = score_of(ends, now, is_strange)
  if after ~= score then redis.call('ZADD', ENDS, string.format('%.2f', after), id) end
  if not score then redis.call('ZREM', REMOVED, 'n' .. id) end
  local is_news = kind_of(after) ~= kind_of(score)
  if ends then
    local gist, sessions, capacity = gist_of(said)
    local before, told = string.match(redis.call('HGET', TOLD, 'n' .. id) or '', '^(%d+) (.*)$')
    if is_news or gist ~= told or has_moved(tonumber(before), sessions, capacity) then
      redis.call('HSET', TOLD, 'n' .. id, string.format('%.0f ', sessions) .. gist)
      is_news = true
    end
  end
  if is_news then change('n' .. id) end
end

local function score_of_node(id)
  return tonumber(redis.call('ZSCORE', ENDS, id) or nil)
end

-- Writes a node's entry, and takes notice of it.
local function write_node(id, ends, renewed, said, now)
  local entry = lease_text(ends, renewed, said)
  redis.call('HSET', NODES, id, entry)
  notice(id, entry, score_of_node(id), now, false)
end

local function note_removal(member, now)
  redis.call('ZADD', REMOVED, string.format('%.0f', now), member)
  change(member)
end

local function forget_node(id, now)
  note_removal('n' .. id, now)
  redis.call('ZREM', ENDS, id)
  redis.call('HDEL', TOLD, 'n' .. id)
end

-- Counts one more change of the shards. The count starts anew with the key, from the time.
local function count_change()
  if version_of(SHARDS) == '0' then
    redis.call('HSET', SHARDS, '#version', redis.call('TIME')[1] .. '000000')
  end
  redis.call('HINCRBY', SHARDS, '#version', 1)
  redis.call('HSET', TOLD, '#shards', version_of(SHARDS))
end

-- Gives a shard an owner; returns '<epoch> <node id>'.
local function own(shard, epoch, owner)
  local text = string.format('%.0f %s', epoch, owner)
  redis.call('HSET', SHARDS, shard, text)
  redis.call('ZREM', REMOVED, 's' .. shard)
  change('s' .. shard)
  count_change()
  return text
end

-- Leaves a shard without an owner; `count_change` follows.
local function retire(shard, now)
  redis.call('HDEL', SHARDS, shard)
  note_removal('s' .. shard, now)
end

-- Sets when to read all nodes again. Before anything is removed: a full Redis lets all pass that follows a removal.
local function reconcile_at(later)
  redis.call('HSET', TOLD, '#next', string.format('%.0f', later))
end

-- Notices all that was written past the index, and all leases that ended. `is_due`: it was time for that.
local function reconcile(now, is_due)
  index.is_exact = true
  if is_due then reconcile_at(now + SELDOM) end
  local scores, strangers = {}, 0
  local ends_list = redis.call('ZRANGE', ENDS, 0, -1, 'WITHSCORES')
  for i = 1, #ends_list, 2 do scores[ends_list[i]] = tonumber(ends_list[i + 1]) end
  local nodes = redis.call('HGETALL', NODES)
  for i = 1, #nodes, 2 do
    local id, ends = nodes[i], read_lease(nodes[i + 1])
    local score = scores[id]
    local is_strange = is_stranger(score, ends)
    if is_strange then strangers = strangers + 1 end
    if not is_indexed(score, ends) or score_of(ends, now, is_strange) ~= score then
      notice(id, nodes[i + 1], score, now, is_strange)
    end
    scores[id] = nil
  end
  for id in pairs(scores) do forget_node(id, now) end
  if is_due and strangers > 0 then reconcile_at(now + OFTEN) end
end

-- Does not tell any longer of what was removed long ago.
local function forget_removals(now)
  local long_ago = redis.call('ZRANGEBYSCORE', REMOVED, '-inf', string.format('%.0f', now - REMEMBERED))
  for _, member in ipairs(long_ago) do
    index.floor = math.max(index.floor, tonumber(redis.call('ZSCORE', CHANGES, member) or 0))
    redis.call('HSET', TOLD, '#floor', string.format('%.0f', index.floor))
    redis.call('ZREM', CHANGES, member)
    redis.call('ZREM', REMOVED, member)
  end
end

-- Notices the leases that ended since.
local function notice_ends(now)
  local over = redis.call('ZRANGEBYSCORE', ENDS, '(0', string.format('%.0f', now), 'WITHSCORES')
  for i = 1, #over, 2 do
    local id, score = over[i], tonumber(over[i + 1])
    local entry = redis.call('HGET', NODES, id)
    if entry then
      notice(id, entry, score, now, is_stranger(score, (read_lease(entry))))
    else
      forget_node(id, now)
    end
  end
end

-- The shards were written past the index: nobody knows which.
local function reconcile_shards()
  index.last = redis.call('HINCRBY', TOLD, '#last', 1)
  index.all_shards = index.last
  redis.call('HSET', TOLD, '#all_shards', index.last, '#shards', version_of(SHARDS))
  for _, member in ipairs(redis.call('ZRANGE', CHANGES, 0, -1)) do
    if string.sub(member, 1, 1) == 's' then
      redis.call('ZREM', CHANGES, member)
      redis.call('ZREM', REMOVED, member)
    end
  end
end

local function start_index()
  local time = redis.call('TIME')
  index = {life = string.format('%.0f', time[1] * 1000000 + time[2]), last = 0, floor = 0, all_shards = 0}
  redis.call('HSET', TOLD, '#last', 0) -- where Redis is full this fails, which a DEL before it would prevent
  redis.call('DEL', TOLD, CHANGES, ENDS, REMOVED)
  redis.call('ZADD', CHANGES, '-' .. index.life, '#life')
  redis.call(
    'HSET', TOLD, '#life', index.life, '#last', 0, '#floor', 0, '#all_shards', 0, '#shards', version_of(SHARDS)
  )
end

-- Makes the index fit what others wrote. `is_exact`: nothing may be missing, as nodes of earlier releases have no index.
local function open_index(now, is_exact)
  local told = redis.call('HMGET', TOLD, '#life', '#last', '#floor', '#all_shards', '#shards', '#next')
  local life = tonumber(redis.call('ZSCORE', CHANGES, '#life') or nil)
  local next_ms = 0
  if told[1] and life == -tonumber(told[1]) then
    index = {
      life = told[1], last = tonumber(told[2]), floor = tonumber(told[3]), all_shards = tonumber(told[4])
    }
    next_ms = tonumber(told[6] or 0)
    if told[5] ~= version_of(SHARDS) then reconcile_shards() end
  else
    start_index()
  end
  local is_due = next_ms <= now or next_ms > now + SELDOM
  if is_exact or is_due or redis.call('HLEN', NODES) ~= redis.call('ZCARD', ENDS) then reconcile(now, is_due) end
  if is_due then forget_removals(now) end
end

-- A node's entry, as the index knows it from now on: nobody is told what it does not know.
local function entry_of(id, now)
  local entry, score = redis.call('HGET', NODES, id), score_of_node(id)
  local ends = read_lease(entry)
  if entry and not is_indexed(score, ends) then notice(id, entry, score, now, true) end
  return entry or ''
end

-- What the store knows, for a caller that knows it up to `mark`; what is no longer there is ''. Returns
-- {now in ms, version, mark, 1 where nodes are all nodes, nodes, 1 where shards are all shards, shards}.
local function answer(mark, now)
  local life, number = string.match(mark, '^(%d+):(%d+)$')
  local since = tonumber(number)
  local is_whole = life ~= index.life or since < index.floor or since > index.last
  local has_all_shards = is_whole or since < index.all_shards
  if is_whole and not index.is_exact then reconcile(now) end
  local nodes = is_whole and redis.call('HGETALL', NODES) or {}
  local shards = has_all_shards and redis.call('HGETALL', SHARDS) or {}
  local changed = is_whole and {} or redis.call('ZRANGEBYSCORE', CHANGES, '(' .. number, '+inf')
  for _, member in ipairs(changed) do
    local name = string.sub(member, 2)
    if string.sub(member, 1, 1) == 'n' then
      nodes[#nodes + 1] = name
      nodes[#nodes + 1] = entry_of(name, now)
    elseif not has_all_shards then
      shards[#shards + 1] = name
      shards[#shards + 1] = redis.call('HGET', SHARDS, name) or ''
    end
  end
  return {
    string.format('%.0f', now), version_of(SHARDS), string.format('%s:%.0f', index.life, index.last),
    is_whole and 1 or 0, nodes, has_all_shards and 1 or 0, shards
  }
end

