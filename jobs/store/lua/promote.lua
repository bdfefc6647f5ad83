#!lua flags=allow-oom
-- Makes up to 100 delayed jobs wait now, as if they had come due.
-- keys: ready grouped turns later leases record completed failed cancelled expired parked config events wake
-- args: now:int rest:list
--   rest: ids
-- returns: the state of each job as it was found ('' unknown); delayed ones were moved
-- include: time record tell wake state place move
local found = {}
for i = rest, #ARGV do
  local id = ARGV[i]
  local state = state_of(id)
  found[#found + 1] = state or ''
  if state == 'delayed' then
    take_out(id)
    wait_now(id, redis.call('HGET', record, id))
    tell('promoted', id, '')
  end
end
write_events()
return found
