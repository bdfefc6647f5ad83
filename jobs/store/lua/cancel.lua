#!lua flags=allow-oom
-- Cancels a job where it is: at once if it does not run, else by asking its worker.
-- keys: ready grouped turns blocked holding later leases body record result completed failed cancelled expired parked expiry config unique uniques progress logs stats events waiters shared_holding
-- args: now:int id:str channel:str age:int most:int most_bytes:int line:str
--   age, most, most_bytes: retention; line: the history line with the reason
-- returns: the state in which the job was found ('' if unknown)
-- include: time record tell count drop state place flow keep
local state = state_of(id)
if not state then return '' end
if state == 'active' then
  local packed = redis.call('HGET', record, id)
  local priority, token, failures, losses, interruptions, flags, sequence, available, size = unpack_record(packed)
  flags = bit.bor(flags, CANCEL_ASKED)
  redis.call('HSET', record, id,
    pack_record(priority, token, failures, losses, interruptions, flags, sequence, available, size, tail_of(packed)))
  redis.call('PUBLISH', channel, struct.pack('>H', #id) .. id .. line)
elseif state == 'waiting' or state == 'delayed' or state == 'parked' then
  local packed = redis.call('HGET', record, id)
  local of = function_of(redis.call('HGET', body, id))
  if not packed then
    local place = tonumber(redis.call('ZSCORE', ready, id))
    packed = pack_record(math.floor(place / SPAN), 0, 0, 0, 0, 0, place % SPAN, now)
  end
  take_out(id)
  finish('cancelled', id, line, false, packed, age, most, most_bytes)
  trim()
  count('cancelled', 1, of)
  tell('cancelled', id, line)
  write_counts()
  write_events()
end
return state
