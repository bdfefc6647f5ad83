#!lua
-- Makes ended jobs wait again, from their first attempt; body and history stay.
-- keys: ready later leases body record result completed failed cancelled expired parked expiry config wake
-- args: now:int rest:list
--   rest: ids
-- returns: the state of each job as it was found ('' if unknown); those of terminal states were moved
-- include: time record wake state drop
local TERMINAL = {completed = completed, failed = failed, cancelled = cancelled, expired = expired}
local found = {}
for i = rest, #ARGV do
  local id = ARGV[i]
  local state = state_of(id)
  found[#found + 1] = state or ''
  if state and TERMINAL[state] then
    local priority, token = 3, 0
    local packed = redis.call('HGET', record, id)
    if packed then priority, token = unpack_record(packed) end
    local sequence = redis.call('HINCRBY', config, 'sequence', 1)
    redis.call('HINCRBY', config, 'bytes:' .. state, -size_of(id, packed))
    redis.call('ZREM', TERMINAL[state], id)
    redis.call('ZREM', expiry, id)
    redis.call('HSET', record, id, pack_record(priority, token, 0, 0, 0, HAS_HISTORY, sequence, now))
    redis.call('ZADD', ready, priority * SPAN + sequence, id)
    ring()
  end
end
return found
