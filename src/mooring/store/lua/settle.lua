-- Decide what became of a call: the first outcome stands.
-- KEYS[1]  the session
-- KEYS[2]  its calls: see redis_journal.py
-- ARGV[1]  epoch of the writer
-- ARGV[2]  how long the outcome is kept, milliseconds
-- ARGV[3]  stream
-- ARGV[4]  outcome
-- ARGV[5]  an outcome on record that does not open, and so does not stand; else ''
-- Returns {1, the outcome that stands}; {0} where there is no record; {-1} where it is of a later epoch, or was removed
-- at this one.
local written = fence(KEYS[1], ARGV[1])
if written ~= DONE then return {written} end
local stands = read_outcome(KEYS[2], ARGV[3])
if stands and stands ~= ARGV[5] then return {DONE, stands} end
forget_outcomes(KEYS[2])
local until_ms = string.format('%.0f', now_ms() + ARGV[2])
redis.call('HSET', KEYS[2], 'o' .. ARGV[3], until_ms .. ' ' .. ARGV[4])
redis.call('HDEL', KEYS[2], 'b' .. ARGV[3])
keep(KEYS[2], ARGV[2])
return {DONE, ARGV[4]}
