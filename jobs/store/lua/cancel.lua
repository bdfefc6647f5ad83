#!lua flags=allow-oom
-- Cancels a job where it is: at once if it does not run, else by asking its worker.
-- keys: ready later leases body record result completed failed cancelled expired parked expiry config stats waiters
-- args: now:int id:str channel:str age:int most:int most_bytes:int line:str
--   age, most, most_bytes: retention; line: the history line with the reason
-- returns: the state in which the job was found ('' if unknown)
-- include: time record count drop keep state
local state, name = state_of(id)
if not state then return '' end
if state == 'active' then
  local priority, token, failures, losses, interruptions, flags, sequence, available =
    unpack_record(redis.call('HGET', record, id))
  flags = bit.bor(flags, CANCEL_ASKED)
  redis.call('HSET', record, id,
    pack_record(priority, token, failures, losses, interruptions, flags, sequence, available))
  redis.call('PUBLISH', channel, struct.pack('>H', #id) .. id .. line)
elseif state == 'waiting' or state == 'delayed' or state == 'parked' then
  local packed = redis.call('HGET', record, id)
  if not packed then
    local place = tonumber(redis.call('ZSCORE', ready, id))
    packed = pack_record(math.floor(place / SPAN), 0, 0, 0, 0, 0, place % SPAN, now)
  end
  redis.call('ZREM', ({waiting = ready, delayed = later, parked = parked})[state], name)
  finish('cancelled', id, line, false, packed, age, most, most_bytes)
  trim()
  count('cancelled', 1)
  write_counts()
end
return state
