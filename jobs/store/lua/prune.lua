#!lua flags=allow-oom
-- Removes what is over its age: kept jobs, taken ids, unique keys; at most 100 of each a call. Moves the
-- counters of old minutes to their hour, their day and the totals, and removes old hours and days; then the
-- starts that no rate counts any more, of 100 gates a call.
-- keys: starts limits body record result completed failed cancelled expired expiry config taken unique uniques progress logs stats events
-- args: now:int minutes_ms:int hours_ms:int days_ms:int cursor:str
--   cursor: where the last call ended, '0' to begin: one of the statistics, then `s` and a gate
-- returns: how many jobs were removed, the cursor for the next call ('0': done)
-- include: time record tell drop rules
local LOOKED_AT, DAY = 100, 86400000
local STATES = {completed = completed, failed = failed, cancelled = cancelled, expired = expired}
local due = redis.call('ZRANGEBYSCORE', expiry, '-inf', now, 'LIMIT', 0, 100)
for state, zset in pairs(STATES) do
  local mine = {}
  for _, id in ipairs(due) do
    if redis.call('ZSCORE', zset, id) then mine[#mine + 1] = id end
  end
  drop(state, zset, mine)
end
if #due > 0 then tell('cleaned', '', '{"count":' .. #due .. '}') end
local free = redis.call('ZRANGEBYSCORE', taken, '-inf', now, 'LIMIT', 0, 100)
if #free > 0 then redis.call('ZREM', taken, unpack(free)) end
local over = redis.call('ZRANGEBYSCORE', uniques, '-inf', now, 'LIMIT', 0, 100)
if #over > 0 then
  redis.call('ZREM', uniques, unpack(over))
  redis.call('HDEL', unique, unpack(over))
end
local function move_counters()
  local page = redis.call('HSCAN', stats, cursor, 'COUNT', 100)
  local old, moved = {}, false
  for i = 1, #page[2], 2 do
    local field, number = page[2][i], page[2][i + 1]
    local span, start, rest = string.match(field, '^([hd]?)(%d+):(.*)$')
    start = tonumber(start)
    if span == '' and start < math.floor((now - minutes_ms) / 60000) then
      redis.call('HINCRBY', stats, string.format('h%d:', math.floor(start / 60)) .. rest, number)
      redis.call('HINCRBY', stats, string.format('d%d:', math.floor(start / 1440)) .. rest, number)
      redis.call('HINCRBY', stats, 't:' .. rest, number)
      old[#old + 1], moved = field, true
    elseif span == 'h' and start < math.floor((now - hours_ms) / 3600000)
      or span == 'd' and start < math.floor((now - days_ms) / 86400000) then
      old[#old + 1] = field
    end
  end
  if #old > 0 then redis.call('HDEL', stats, unpack(old)) end
  if moved then redis.call('HINCRBY', stats, 'moved', 1) end
  return page[1] == '0' and 's' or page[1]
end
-- of a gate without a rule too, as the rule may come back: but then those of a day
local function forget_all_starts(from)
  read_rules()
  for _ = 1, LOOKED_AT do
    local first = redis.call('ZRANGEBYLEX', starts, '[' .. from, '+', 'LIMIT', 0, 1)[1]
    if not first then return '0' end
    local gate = string.match(first, '^[^\1]*')
    local period = period_of(rules_of(gate))
    forget_before(starts, gate, period > 0 and period or DAY)
    from = gate .. '\2'
  end
  return 's' .. from
end
local is_at_starts = string.sub(cursor, 1, 1) == 's'
local after = is_at_starts and forget_all_starts(string.sub(cursor, 2)) or move_counters()
write_events()
return {#due, after}
