-- Write a session's record, whether or not it was there.
-- KEYS[1]  the session
-- KEYS[2]  its state, which lives as long
-- ARGV[1]  epoch of the writer
-- ARGV[2]  time to live, seconds
-- ARGV[3]… fields and values of the record; an empty one is left out
-- Returns 1; -1 where the record is of a later epoch, or was removed at this one.
local what, epoch = read_record(KEYS[1])
local mine = tonumber(ARGV[1])
if what == 'removed' and mine <= epoch or what == 'record' and mine < epoch then return REFUSED end
-- Not where there is nothing: after a first write that needs no memory a full Redis lets the next ones pass.
if what ~= 'record' and redis.call('EXISTS', KEYS[1]) == 1 then redis.call('DEL', KEYS[1]) end
local fields, empty = {}, {}
for n = 3, #ARGV, 2 do
  if ARGV[n + 1] == '' then
    empty[#empty + 1] = ARGV[n]
  else
    fields[#fields + 1] = ARGV[n]
    fields[#fields + 1] = ARGV[n + 1]
  end
end
redis.call('HSET', KEYS[1], unpack(fields))
if what == 'record' and #empty > 0 then redis.call('HDEL', KEYS[1], unpack(empty)) end
redis.call('EXPIRE', KEYS[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[2])
return DONE
