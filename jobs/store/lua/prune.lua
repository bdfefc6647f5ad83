#!lua flags=allow-oom
-- Removes what is over its age: kept jobs, taken ids, unique keys, old statistics; at most 100 of each a call.
-- keys: body record result completed failed cancelled expired expiry config taken unique uniques progress logs stats
-- args: now:int stats_ms:int cursor:str
-- returns: how many jobs were removed, the cursor for the next call over the statistics ('0': done)
-- include: time record drop
local STATES = {completed = completed, failed = failed, cancelled = cancelled, expired = expired}
local due = redis.call('ZRANGEBYSCORE', expiry, '-inf', now, 'LIMIT', 0, 100)
for state, zset in pairs(STATES) do
  local mine = {}
  for _, id in ipairs(due) do
    if redis.call('ZSCORE', zset, id) then mine[#mine + 1] = id end
  end
  drop(state, zset, mine)
end
local free = redis.call('ZRANGEBYSCORE', taken, '-inf', now, 'LIMIT', 0, 100)
if #free > 0 then redis.call('ZREM', taken, unpack(free)) end
local over = redis.call('ZRANGEBYSCORE', uniques, '-inf', now, 'LIMIT', 0, 100)
if #over > 0 then
  redis.call('ZREM', uniques, unpack(over))
  redis.call('HDEL', unique, unpack(over))
end
local oldest = math.floor((now - stats_ms) / 60000)
local page = redis.call('HSCAN', stats, cursor, 'COUNT', 100)
local old = {}
for i = 1, #page[2], 2 do
  local minute = tonumber(string.match(page[2][i], '^%d+'))
  if minute < oldest then old[#old + 1] = page[2][i] end
end
if #old > 0 then redis.call('HDEL', stats, unpack(old)) end
return {#due, page[1]}
