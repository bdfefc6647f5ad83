#!lua flags=allow-oom
-- Cancels up to 100 jobs where they are: at once if they do not run, else by asking their workers.
-- keys: ready grouped turns blocked alarms holding later leases body record result completed failed cancelled expired parked expiry config unique uniques progress logs stats events waiters wake shared_holding
-- args: now:int channel:str age:int most:int most_bytes:int line:str rest:list
--   age, most, most_bytes: retention; line: the history line with the reason; rest: ids
-- returns: the state in which each job was found ('' if unknown)
-- include: time record tell wake count drop state place flow keep
local function ask(id)
  local packed = redis.call('HGET', record, id)
  local priority, token, failures, losses, interruptions, flags, sequence, available, size = unpack_record(packed)
  flags = bit.bor(flags, CANCEL_ASKED)
  redis.call('HSET', record, id,
    pack_record(priority, token, failures, losses, interruptions, flags, sequence, available, size, tail_of(packed)))
  redis.call('PUBLISH', channel, struct.pack('>H', #id) .. id .. line)
end
local function stop(id)
  local packed = redis.call('HGET', record, id)
  local of = function_of(redis.call('HGET', body, id))
  if not packed then
    local place = tonumber(redis.call('ZSCORE', ready, id))
    packed = pack_record(math.floor(place / SPAN), 0, 0, 0, 0, 0, place % SPAN, now)
  end
  take_out(id)
  if #packed > RECORD_BYTES then ring() end
  finish('cancelled', id, line, false, packed, age, most, most_bytes)
  count('cancelled', 1, of)
  tell('cancelled', id, line)
end
local found, seen = {}, {}
for i = rest, #ARGV do
  local id = ARGV[i]
  local state = not seen[id] and state_of(id)
  if seen[id] then
    state = seen[id]
  elseif state == 'active' then
    ask(id)
  elseif state == 'waiting' or state == 'delayed' or state == 'parked' then
    stop(id)
  end
  seen[id] = state or ''
  found[#found + 1] = state or ''
end
trim()
write_counts()
write_events()
return found
