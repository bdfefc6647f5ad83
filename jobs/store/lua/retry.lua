#!lua
-- Makes ended jobs wait again, from their first attempt; body and history stay.
-- keys: ready grouped turns later leases body record result completed failed cancelled expired parked expiry config unique uniques progress logs events wake
-- args: now:int rest:list
--   rest: ids
-- returns: the state of each job as it was found ('' if unknown); those of terminal states were moved
-- include: time record tell wake drop state place
local TERMINAL = {completed = completed, failed = failed, cancelled = cancelled, expired = expired}
local found = {}
for i = rest, #ARGV do
  local id = ARGV[i]
  local state = state_of(id)
  found[#found + 1] = state or ''
  if state and TERMINAL[state] then
    local packed = redis.call('HGET', record, id)
    local priority, token = unpack_record(packed)
    local _, _, own = flow_of(packed)
    local sequence = redis.call('HINCRBY', config, 'sequence', 1)
    redis.call('HINCRBY', config, 'bytes:' .. state, -size_of(id, packed))
    redis.call('ZREM', TERMINAL[state], id)
    redis.call('ZREM', expiry, id)
    packed = pack_record(priority, token, 0, 0, 0, HAS_HISTORY, sequence, now, 0, tail_of(packed))
    redis.call('HSET', record, id, packed)
    if own ~= '' and redis.call('HSETNX', unique, own, id) == 1 then redis.call('ZADD', uniques, 'inf', own) end
    line_up(id, packed)
    tell('waiting', id, '')
    ring()
  end
end
write_events()
return found
