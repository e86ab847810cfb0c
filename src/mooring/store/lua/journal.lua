-- What the scripts on a session's journal share: it is put in front of each of them.

-- Whether a writer of this epoch may write of the session; if so, its record takes the epoch.
local function fence(session, text)
  local what, epoch = read_record(session)
  local mine = tonumber(text)
  if what == 'removed' and mine <= epoch or what == 'record' and mine < epoch then return REFUSED end
  if what ~= 'record' then return MISSING end
  if mine > epoch then redis.call('HSET', session, 'epoch', text) end
  return DONE
end

-- Let a key live that long at least, in ms.
local function keep(key, ttl)
  redis.call('PEXPIRE', key, ttl, 'NX')
  redis.call('PEXPIRE', key, ttl, 'GT')
end

-- Until when an outcome is kept, in ms since the epoch, and the outcome; nil where there is none that reads.
local function read_entry(entry)
  local until_ms, outcome = string.match(entry or '', '^(%d+) (.*)$')
  return tonumber(until_ms), outcome
end

-- The outcome of a call, or nil.
local function read_outcome(calls, stream)
  local until_ms, outcome = read_entry(redis.call('HGET', calls, 'o' .. stream))
  return until_ms and until_ms > now_ms() and outcome or nil
end

-- Drop outcomes whose time is over, with what is known of their calls; only where there are many.
local function forget_outcomes(calls)
  if redis.call('HLEN', calls) < 100 then return end
  local now = now_ms()
  for _, name in ipairs(redis.call('HKEYS', calls)) do
    if string.sub(name, 1, 1) == 'o' then
      local until_ms = read_entry(redis.call('HGET', calls, name))
      if not until_ms or until_ms <= now then
        local stream = string.sub(name, 2)
        redis.call('HDEL', calls, name, 'c' .. stream, 'b' .. stream)
      end
    end
  end
end

