#!lua flags=allow-oom
-- Makes parked jobs wait again: a worker that can run them is here.
-- keys: ready grouped turns later leases record completed failed cancelled expired parked config events wake
-- args: now:int rest:list
--   rest: ids
-- returns: how many were parked and wait now
-- include: time record tell wake state place
local moved = 0
for i = rest, #ARGV do
  local id = ARGV[i]
  if redis.call('ZREM', parked, id) == 1 then
    local packed = redis.call('HGET', record, id)
    local priority, token, failures, losses, interruptions, flags = unpack_record(packed)
    local sequence = redis.call('HINCRBY', config, 'sequence', 1)
    packed = pack_record(priority, token, failures, losses, interruptions, flags, sequence, now, 0, tail_of(packed))
    redis.call('HSET', record, id, packed)
    line_up(id, packed)
    tell('waiting', id, '')
    moved = moved + 1
  end
end
if moved > 0 then ring() end
write_events()
return moved
