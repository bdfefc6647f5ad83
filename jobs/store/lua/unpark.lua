#!lua flags=allow-oom
-- Makes parked jobs wait again: a worker that can run them is here.
-- keys: ready record parked config wake
-- args: now:int rest:list
--   rest: ids
-- returns: how many were parked and wait now
-- include: time record wake
local moved = 0
for i = rest, #ARGV do
  local id = ARGV[i]
  if redis.call('ZREM', parked, id) == 1 then
    local priority, token, failures, losses, interruptions, flags = unpack_record(redis.call('HGET', record, id))
    local sequence = redis.call('HINCRBY', config, 'sequence', 1)
    redis.call('HSET', record, id, pack_record(priority, token, failures, losses, interruptions, flags, sequence, now))
    redis.call('ZADD', ready, priority * SPAN + sequence, id)
    moved = moved + 1
  end
end
if moved > 0 then ring() end
return moved
