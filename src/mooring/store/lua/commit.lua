-- Write what a server keeps of a session, and settle the call that changed it with its answer.
-- KEYS[1]  the session
-- KEYS[2]  its calls: see redis_journal.py
-- KEYS[3]  its state: the epoch and the version of whoever wrote it last, and what they wrote
-- ARGV[1]  epoch of the writer
-- ARGV[2]  how long the outcome is kept, milliseconds
-- ARGV[3]  how long the state is kept, seconds
-- ARGV[4]  the state; '' where nothing is left of it
-- ARGV[5]  stream of the call, and…
-- ARGV[6]  its outcome; '' where there is none
-- ARGV[7]  an outcome on record that does not open, and so does not stand; else ''
-- ARGV[8]  version of the state
-- ARGV[9]  how many streams follow whose calls may be a part of the state: they lose their bodies
-- ARGV[10]… these streams, and after them those of calls to forget
-- Returns {1, the outcome that stands}: nothing is written where that is from before, or this version of the state is;
-- {0} where there is no record; {-1} where it is of a later epoch, or was removed at this one, or a later version of the
-- state is there: a write that was given up may be read from its connection after those that came later.
local written = fence(KEYS[1], ARGV[1])
if written ~= DONE then return {written} end
local stream = ARGV[5]
if stream ~= '' then
  local stands = read_outcome(KEYS[2], stream)
  if stands and stands ~= ARGV[7] then return {DONE, stands} end
end
local epoch, version = string.match(redis.call('GETRANGE', KEYS[3], 0, 40), '^(%d+) (%d+) ')
if epoch and tonumber(epoch) == tonumber(ARGV[1]) then
  if tonumber(version) > tonumber(ARGV[8]) then return {-1} end
  if tonumber(version) == tonumber(ARGV[8]) then return {DONE, ARGV[6]} end
end
redis.call('SET', KEYS[3], ARGV[1] .. ' ' .. ARGV[8] .. ' ' .. ARGV[4], 'EX', ARGV[3])
local mixed = 9 + tonumber(ARGV[9])
for n = 10, mixed do redis.call('HDEL', KEYS[2], 'b' .. ARGV[n]) end
for n = mixed + 1, #ARGV do
  redis.call('HDEL', KEYS[2], 'c' .. ARGV[n], 'b' .. ARGV[n], 'o' .. ARGV[n])
end
if stream ~= '' then
  forget_outcomes(KEYS[2])
  local until_ms = string.format('%.0f', now_ms() + ARGV[2])
  redis.call('HSET', KEYS[2], 'o' .. stream, until_ms .. ' ' .. ARGV[6])
  redis.call('HDEL', KEYS[2], 'b' .. stream)
  keep(KEYS[2], ARGV[2])
end
return {DONE, ARGV[6]}
