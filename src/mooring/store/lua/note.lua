-- Write down that calls of a session run.
-- KEYS[1]  the session
-- KEYS[2]  its calls: see redis_journal.py
-- ARGV[1]  epoch of the writer
-- ARGV[2]  how long they are kept at least, milliseconds
-- ARGV[3]  how many calls there may be: beyond them none is added
-- ARGV[4]… of each call: stream, what is known of it, its body or ''
-- Returns 1; 0 where there is no record; -1 where it is of a later epoch, or was removed at this one.
local written = fence(KEYS[1], ARGV[1])
if written ~= DONE then return written end
forget_outcomes(KEYS[2])
for n = 4, #ARGV, 3 do
  local stream = ARGV[n]
  local is_settled = redis.call('HEXISTS', KEYS[2], 'o' .. stream) == 1
  if not is_settled and redis.call('HLEN', KEYS[2]) < 2 * ARGV[3] then
    redis.call('HSET', KEYS[2], 'c' .. stream, ARGV[n + 1])
    if ARGV[n + 2] ~= '' then redis.call('HSET', KEYS[2], 'b' .. stream, ARGV[n + 2]) end
  end
end
keep(KEYS[2], ARGV[2])
return DONE
