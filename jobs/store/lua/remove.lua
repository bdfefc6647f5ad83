#!lua flags=allow-oom
-- Removes up to 100 jobs with all that is theirs; running ones only where that is asked for.
-- keys: ready grouped turns blocked alarms holding later leases body record result completed failed cancelled expired parked expiry config unique uniques progress logs events waiters wake shared_holding
-- args: now:int state:str before:int running:int event:str line:str rest:list
--   state: only jobs of this state ('': of any); before: only those that ended at this time or earlier,
--     and those that have not ended, enqueued then or earlier (0: of any time)
--   running: 1 to remove running jobs too, whose ends are refused then
--   event: also told, with how many were removed: cleaned, or drained if nothing waits now ('': neither)
--   line: the end that those hear of who wait for a job which had not ended
--   rest: ids
-- returns: two values a job: the state in which it was found ('' unknown), 1 if it was removed
-- include: time record tell wake drop state place flow keep
local function time_of(id, state, score)
  return TERMINAL[state] and tonumber(score) or enqueued_at(redis.call('HGET', body, id) or '')
end
local function fits(id, found, score)
  if not found or (state ~= '' and found ~= state) then return false end
  if found == 'active' and running == 0 then return false end
  return before == 0 or time_of(id, found, score) <= before
end
local function leave(id, found)
  local packed = redis.call('HGET', record, id)
  tell_waiters('cancelled', id, line)
  if found == 'active' then redis.call('ZREM', leases, id) else take_out(id) end
  if packed and #packed > RECORD_BYTES then
    let_go(id, packed, true)
    ring()
  end
  for _, hash in ipairs({body, record, result, progress, logs}) do redis.call('HDEL', hash, id) end
end
local reply, removed = {}, 0
for i = rest, #ARGV do
  local id = ARGV[i]
  local found, _, score = state_of(id)
  local goes = fits(id, found, score)
  if goes then
    if TERMINAL[found] then drop(found, TERMINAL[found], {id}) else leave(id, found) end
    tell('removed', id, '{"prev":"' .. found .. '"}')
    removed = removed + 1
  end
  reply[#reply + 1] = found or ''
  reply[#reply + 1] = goes and 1 or 0
end
write_freed()
if event == 'cleaned' and removed > 0 then tell(event, '', '{"count":' .. removed .. '}') end
if event == 'drained' and redis.call('ZCARD', ready) + redis.call('ZCARD', grouped) == 0 then tell(event, '', '') end
write_events()
return reply
