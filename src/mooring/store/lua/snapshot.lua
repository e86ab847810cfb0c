-- Say what the store knows, at one moment, for anyone: nothing is written.
-- KEYS     as in changes.lua
-- Returns as `answer` in changes.lua, without a mark.
return {
  string.format('%.0f', now_ms()), version_of(SHARDS), '',
  1, redis.call('HGETALL', NODES), 1, redis.call('HGETALL', SHARDS)
}
