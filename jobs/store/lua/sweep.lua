#!lua flags=allow-oom
-- Removes orphans from one page of one key: ids that have no body, and bodies that no state holds.
-- keys: ready grouped turns blocked alarms holding later leases body record result completed failed cancelled expired parked expiry config unique uniques progress logs events waiters wake shared_holding
-- args: now:int name:str cursor:str line:str
--   name: the key to walk; line: the end that those hear of who wait for a job that is removed
-- returns: how many orphans were removed, the cursor for the next call ('0': done)
-- include: time record tell wake drop state place flow keep
local HASHES = {body = body, record = record, result = result, progress = progress, logs = logs, waiters = waiters}
local SETS = {leases = leases, ready = ready, later = later, grouped = grouped, completed = completed, failed = failed,
  cancelled = cancelled, expired = expired, parked = parked}
local function id_of(member)
  if name == 'later' then return string.sub(member, 9) end
  return name == 'grouped' and string.match(member, '^[^\1]*\1........(.*)$') or member
end
local function sweep(id, member)
  local zset = SETS[name]
  local state, own = state_of(id)
  local is_whole = state and redis.call('HEXISTS', body, id) == 1
  if is_whole and (not zset or own == member) then return 0 end
  if not is_whole then
    local packed = redis.call('HGET', record, id)
    if TERMINAL[state] then
      drop(state, TERMINAL[state], {id})
    else
      if state == 'active' then redis.call('ZREM', leases, id) else take_out(id) end
      if packed and #packed > RECORD_BYTES then let_go(id, packed, true) end
    end
    tell_waiters('cancelled', id, line)
    for _, hash in pairs(HASHES) do redis.call('HDEL', hash, id) end
    redis.call('ZREM', expiry, id)
  end
  if zset then redis.call('ZREM', zset, member) end
  tell('removed', id, '{"prev":"' .. (state or 'unknown') .. '"}')
  return 1
end
local zset, hash = SETS[name], HASHES[name]
local page
if zset then page = redis.call('ZSCAN', zset, cursor, 'COUNT', 100) else page = redis.call('HSCAN', hash, cursor, 'COUNT', 100) end
local removed = 0
for i = 1, #page[2], 2 do removed = removed + sweep(id_of(page[2][i]), page[2][i]) end
write_freed()
write_events()
return {removed, page[1]}
