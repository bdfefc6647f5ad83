#!lua flags=allow-oom
-- Has the events of a queue written for a while, and tells where they stand.
-- keys: config events
-- args: now:int for_ms:int exact:int
--   for_ms: from now on so long (-1: for ever); exact: 1 to set that also when it is shorter
-- returns: the number of the last event, the ms until which events are written
-- include: time
-- Numbers begin with the time in µs, and jump to it where nothing was written for a while: who
-- comes back then sees that events are missing, also if the whole queue was removed in between
local FOREVER = 253402300799999
local last = tonumber(redis.call('HGET', config, 'told') or '0')
local listened = tonumber(redis.call('HGET', config, 'listened') or '0')
if listened <= now and last < now * 1000 then
  last = now * 1000
  redis.call('HSET', config, 'told', text_of(last))
end
local wanted = for_ms < 0 and FOREVER or now + for_ms
if wanted > listened or exact == 1 then
  listened = wanted
  redis.call('HSET', config, 'listened', text_of(listened))
end
return {last, listened}
