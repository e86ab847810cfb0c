-- Read what is known of the calls of a session.
-- KEYS[1]  its calls: see redis_journal.py
-- Returns {field, value, …}, outcomes without their times; less the calls whose outcome's time is over.
local fields, now = redis.call('HGETALL', KEYS[1]), now_ms()
local is_over, found = {}, {}
for n = 1, #fields, 2 do
  if string.sub(fields[n], 1, 1) == 'o' then
    local until_ms, outcome = read_entry(fields[n + 1])
    fields[n + 1] = outcome or '' -- with a hole in it, nobody knows how long a table is
    is_over[string.sub(fields[n], 2)] = not until_ms or until_ms <= now
  end
end
for n = 1, #fields, 2 do
  if not is_over[string.sub(fields[n], 2)] then
    found[#found + 1] = fields[n]
    found[#found + 1] = fields[n + 1]
  end
end
return found
