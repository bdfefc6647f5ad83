#!lua flags=allow-oom
-- Cancels a job where it is: at once if it does not run, else by asking its worker.
-- keys: ready later leases body record result completed failed cancelled expired parked expiry config stats waiters
-- args: now:int id:str channel:str age:int most:int most_bytes:int line:str
--   age, most, most_bytes: retention; line: the history line with the reason
-- returns: the state in which the job was found ('' if unknown)
-- include: time record count drop keep state
local state = state_of(id)
if not state then return '' end
if state == 'active' then
  local priority, token, failures, losses, interruptions, flags, sequence, available =
    struct.unpack(RECORD, redis.call('HGET', record, id))
  if flags % 2 == 0 then flags = flags + 1 end
  redis.call('HSET', record, id,
    pack_record(priority, token, failures, losses, interruptions, flags, sequence, available))
  redis.call('PUBLISH', channel, id)
elseif state == 'waiting' or state == 'delayed' or state == 'parked' then
  redis.call('ZREM', ({waiting = ready, delayed = later, parked = parked})[state], id)
  finish('cancelled', id, line, false, age, most, most_bytes)
  trim()
  count('cancelled', 1)
  write_counts()
end
return state
