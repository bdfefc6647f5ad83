#!lua
-- Makes ended jobs wait again, with what they did so far in their history.
-- keys: ready grouped turns later leases body record result completed failed cancelled expired parked expiry config unique uniques progress logs events wake
-- args: now:int reset:int rest:list
--   reset: 1 to begin anew: with all attempts, and with the time that it may wait counted from now;
--     0 to go on where the job stopped: at least one more attempt, and the time counted from its enqueue
--   rest, two a job: id, another envelope bound to that id ('': its body stays)
-- returns: the state of each job as it was found ('' if unknown); those of terminal states were moved
-- include: time record tell wake drop state place move
local TERMINAL = {completed = completed, failed = failed, cancelled = cancelled, expired = expired}
local function again(id, state, data)
  local packed = redis.call('HGET', record, id)
  local priority, token, failures, losses, interruptions, flags, sequence, available = unpack_record(packed)
  local _, _, own = flow_of(packed)
  redis.call('HINCRBY', config, 'bytes:' .. state, -size_of(id, packed))
  redis.call('ZREM', TERMINAL[state], id)
  redis.call('ZREM', expiry, id)
  local stored = redis.call('HGET', body, id) or ''
  if data ~= '' then stored = string.sub(stored, 1, ENQUEUED_BYTES) .. data end
  if reset == 1 then
    failures, losses, interruptions = 0, 0, 0
    stored = struct.pack(ENQUEUED, now) .. string.sub(stored, ENQUEUED_BYTES + 1)
  end
  redis.call('HSET', body, id, stored)
  local until_ms = own ~= '' and redis.call('ZSCORE', uniques, own)
  local is_over = until_ms and tonumber(until_ms) <= now
  if own ~= '' and (is_over or redis.call('HEXISTS', unique, own) == 0) then
    redis.call('HSET', unique, own, id)
    redis.call('ZREM', uniques, own)
  end
  flags = bit.bor(HAS_HISTORY, bit.band(flags, AGED))
  wait_now(id, pack_record(priority, token, failures, losses, interruptions, flags, sequence, available, 0, tail_of(packed)))
end
local found = {}
for i = rest, #ARGV, 2 do
  local id = ARGV[i]
  local state = state_of(id)
  found[#found + 1] = state or ''
  if state and TERMINAL[state] then again(id, state, ARGV[i + 1]) end
end
write_events()
return found
